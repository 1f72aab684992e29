//! Reaching an engine.

use std::io;
use std::path::Path;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use tokio::net::UnixStream;

use super::address::Address;
use super::{CALL_LIMIT, EngineError, EngineFacts, answer, facts};

/// How a port that speaks TLS answers where it is not spoken to so.
const NOT_TLS: &str = "HTTP request to an HTTPS server";
const UNASKED: &str = "it speaks nothing else, and DOCKER_TLS_VERIFY=1 does not ask for it";

/// Connects to `first`, or to the first of `others` that answers where that is not there or not
/// for us. Returns which of them it was.
pub(super) async fn open(
    first: &Address,
    others: &[Address],
    limit: Duration,
) -> Result<(Address, Docker, EngineFacts), EngineError> {
    let mut error = match open_one(first, limit).await {
        Err(error) => error,
        Ok((docker, facts)) => return Ok((first.clone(), docker, facts)),
    };
    for other in others {
        if !matches!(error, EngineError::NotFound { .. } | EngineError::NotPermitted { .. }) {
            break;
        }
        match open_one(other, limit).await {
            Ok((docker, facts)) => return Ok((other.clone(), docker, facts)),
            // One that is there and not for us says more than one that is not there.
            Err(EngineError::NotFound { .. }) => {}
            Err(better) => error = better,
        }
    }
    Err(error)
}

async fn open_one(
    address: &Address,
    limit: Duration,
) -> Result<(Docker, EngineFacts), EngineError> {
    let text = address.to_string();
    let facts = async {
        let (docker, owner) = client(address, &text).await?;
        let refused = |error| connect_error(&text, error);
        // Both at once, for a run waits for them. Podman 4 takes seconds to answer the second, and
        // is refused without it.
        let version = async {
            let version = docker.version().await.map_err(refused)?;
            facts::refuse_podman(&text, &version)?;
            Ok(version)
        };
        let info = async { docker.info().await.map_err(refused) };
        let (version, info) = futures_util::future::try_join(version, info).await?;
        let facts = EngineFacts::read(&text, version, &info, owner)?;
        Ok((docker, facts))
    };
    match tokio::time::timeout(limit, facts).await {
        Ok(opened) => opened,
        Err(_) => {
            let late = format!("it said nothing within {} s", limit.as_secs_f32());
            Err(EngineError::gone(&text, io::Error::new(io::ErrorKind::TimedOut, late)))
        }
    }
}

/// Returns a client, and the uid of whoever listens where that can be known.
async fn client(address: &Address, text: &str) -> Result<(Docker, Option<u32>), EngineError> {
    let mut owner = None;
    let seconds = CALL_LIMIT.as_secs();
    let docker = match address {
        Address::Unix(path) => {
            owner = try_socket(path, text).await?;
            Docker::connect_with_unix(&path.to_string_lossy(), seconds, API_DEFAULT_VERSION)
        }
        Address::Tcp { host, tls: None } => {
            Docker::connect_with_http(host, seconds, API_DEFAULT_VERSION)
        }
        Address::Tcp { host, tls: Some(files) } => {
            // The client of this library says nothing of files that it cannot use.
            files.client()?;
            crate::tls::install_provider();
            let (key, certificate, authority) =
                (files.key(), files.certificate(), files.authority());
            let version = API_DEFAULT_VERSION;
            Docker::connect_with_ssl(host, &key, &certificate, &authority, seconds, version)
        }
        Address::Unknown(text) => {
            return Err(EngineError::UnknownAddress { address: text.clone() });
        }
    };
    let docker = docker.map_err(|error| connect_error(text, error))?;
    Ok((docker.with_request_modifier(correct_logins), owner))
}

/// Whether somebody listens, and to us: a client would say less of why not. Returns who it is.
async fn try_socket(path: &Path, text: &str) -> Result<Option<u32>, EngineError> {
    let stream = UnixStream::connect(path).await.map_err(|error| socket_error(text, error))?;
    Ok(stream.peer_cred().ok().map(|peer| peer.uid()))
}

fn socket_error(text: &str, error: io::Error) -> EngineError {
    let address = text.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::ConnectionRefused => EngineError::NotFound { address },
        io::ErrorKind::PermissionDenied => EngineError::NotPermitted { address },
        _ => EngineError::gone(text, error),
    }
}

fn connect_error(address: &str, error: bollard::errors::Error) -> EngineError {
    match answer::error(address, error) {
        EngineError::Refused { status: 401 | 403, .. } => {
            EngineError::NotPermitted { address: address.to_owned() }
        }
        // What Go's servers say.
        EngineError::Refused { status: 400, message } if message.contains(NOT_TLS) => {
            EngineError::Untrusted { address: address.to_owned(), source: UNASKED.into() }
        }
        EngineError::Refused { status, message } => {
            EngineError::strange(address, format!("it answers {status}: {message}"))
        }
        EngineError::Gone { source, .. } if is_refused(source.as_ref()) => {
            EngineError::NotFound { address: address.to_owned() }
        }
        other => other,
    }
}

fn is_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused)
    })
}

/// Writes logins in the alphabet that engines read. bollard writes them in the other one, and an
/// engine that cannot read a login goes on without it, so that some passwords would be refused.
fn correct_logins(mut request: BollardRequest) -> BollardRequest {
    for name in ["x-registry-auth", "x-registry-config"] {
        if let Some(value) = request.headers_mut().get_mut(name) {
            let url_safe: Vec<u8> = value.as_bytes().iter().map(|&byte| url_safe(byte)).collect();
            if let Ok(corrected) = url_safe.try_into() {
                *value = corrected;
            }
            value.set_sensitive(true);
        }
    }
    request
}

fn url_safe(byte: u8) -> u8 {
    match byte {
        b'+' => b'-',
        b'/' => b'_',
        other => other,
    }
}

#[cfg(test)]
mod tests;
