//! The key exchange and the host key, before anything of ours is sent.

use std::time::Instant;

use ssh2::{ErrorCode, MethodType, Session};

use super::ciphers;
use super::host_key::{HostKey, HostKeyPolicy};
use super::known_hosts::KnownKeys;
use super::link::Link;
use super::{Endpoint, Patience, SshError};

/// libssh2's errors of a connection that was closed: `LIBSSH2_ERROR_SOCKET_SEND`,
/// `LIBSSH2_ERROR_SOCKET_DISCONNECT` and `LIBSSH2_ERROR_SOCKET_RECV`.
const CLOSED: [ErrorCode; 3] =
    [ErrorCode::Session(-7), ErrorCode::Session(-13), ErrorCode::Session(-43)];

/// libssh2's `LIBSSH2_ERROR_KEX_FAILURE`: no algorithm that both sides know.
const NOTHING_IN_COMMON: ErrorCode = ErrorCode::Session(-5);

/// Exchanges keys and returns the host key that the server proved to have, unchecked.
pub(super) fn shake(
    link: &Link,
    endpoint: &Endpoint,
    patience: Patience,
    deadline: Instant,
) -> Result<HostKey, SshError> {
    let (host, port) = (endpoint.host.clone(), endpoint.port);
    let misunderstood = |said: String| SshError::Handshake { host: host.clone(), port, said };
    let algorithms = preferred(link.session(), &wanted(link.session(), endpoint)?);
    ciphers::propose(link.session())
        .and_then(|()| link.session().method_pref(MethodType::HostKey, &algorithms))
        .map_err(|error| misunderstood(error.message().to_owned()))?;
    match link.try_until(deadline, |session| session.clone().handshake()) {
        Ok(Some(())) => {}
        Ok(None) => return Err(SshError::Silent { host, after: patience.connect }),
        Err(error) if CLOSED.contains(&error.code()) => return Err(SshError::lost(&host, &error)),
        Err(error) if error.code() == NOTHING_IN_COMMON => {
            return Err(misunderstood(format!(
                "no algorithm that both know ({})",
                error.message()
            )));
        }
        Err(error) => return Err(misunderstood(error.message().to_owned())),
    }
    let key = link.session().host_key().and_then(|(blob, _)| HostKey::of_blob(blob));
    key.ok_or_else(|| misunderstood("the server shows no host key".to_owned()))
}

/// Checks a host key against the policy of `endpoint`.
pub(super) fn check(link: &Link, endpoint: &Endpoint, found: &HostKey) -> Result<(), SshError> {
    let (host, found_key) = (endpoint.host.clone(), || Box::new(found.clone()));
    let file = match &endpoint.host_key {
        HostKeyPolicy::Any => return Ok(()),
        HostKeyPolicy::Pinned(pinned) if pinned == found => return Ok(()),
        HostKeyPolicy::Pinned(pinned) => {
            let (expected, found) = (Box::new(pinned.clone()), found_key());
            return Err(SshError::HostKeyChanged { host, expected, found });
        }
        HostKeyPolicy::Known(file) => file,
    };
    let known = KnownKeys::of(link.session(), file, &endpoint.host, endpoint.port)?;
    let known_hosts = file.display().to_string();
    if known.revoked.contains(found) {
        return Err(SshError::HostKeyRevoked { host, known_hosts, found: found_key() });
    }
    if known.accepted.contains(found) {
        return Ok(());
    }
    let same_kind = known.accepted.iter().find(|key| key.algorithm == found.algorithm);
    Err(match same_kind.or_else(|| known.accepted.first()) {
        Some(expected) => SshError::HostKeyOther {
            known_as: match endpoint.port {
                22 => host.clone(),
                port => format!("[{host}]:{port}"),
            },
            host,
            known_hosts,
            expected: Box::new(expected.clone()),
            found: found_key(),
        },
        None => SshError::HostKeyUnknown { host, known_hosts, found: found_key() },
    })
}

/// Returns the algorithms of the keys that would be accepted.
fn wanted(session: &Session, endpoint: &Endpoint) -> Result<Vec<String>, SshError> {
    let keys = match &endpoint.host_key {
        HostKeyPolicy::Any => Vec::new(),
        HostKeyPolicy::Pinned(pinned) => vec![pinned.clone()],
        HostKeyPolicy::Known(file) => {
            KnownKeys::of(session, file, &endpoint.host, endpoint.port)?.accepted
        }
    };
    Ok(keys.into_iter().map(|key| key.algorithm).collect())
}

/// Returns all algorithms of host keys, those of `wanted` keys first: a server that has several
/// keys shows the one of the first algorithm that it has.
fn preferred(session: &Session, wanted: &[String]) -> String {
    let supported = session.supported_algs(MethodType::HostKey).unwrap_or_default();
    // Certificates are not what was pinned.
    let mut algorithms: Vec<_> =
        supported.into_iter().filter(|algorithm| !algorithm.contains("-cert-")).collect();
    algorithms.sort_by_key(|algorithm| {
        // A key of type `ssh-rsa` may sign in several ways.
        let kind = if algorithm.starts_with("rsa-sha2-") { "ssh-rsa" } else { algorithm };
        !wanted.iter().any(|wanted| wanted == kind)
    });
    algorithms.join(",")
}
