//! The certificate that the agent shows, and its key.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use images::tls;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use super::validity;

/// What connections are encrypted with.
pub(super) struct Tls {
    pub(super) acceptor: TlsAcceptor,
    /// Until when its certificate is good, where that can be read.
    pub(super) expires: Option<Timestamp>,
}

/// Why a certificate or a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// The file cannot be read, or holds something else.
    #[error("cannot use {path:?}, which {setting} names")]
    File {
        /// The file.
        path: PathBuf,
        /// Which setting names it.
        setting: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Everybody on this machine can take the agent's place.
    #[error("the key {path:?} can be read by everybody (mode {mode:o})")]
    OpenKey {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// They are of two pairs, or of a kind that is not known.
    #[error("the certificate {certificate:?} does not go with the key {key:?}")]
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
}

impl CertificateError {
    /// Returns what to do next.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::File { setting: "listen.key", .. } => {
                "it has to be a private key in PEM, without a passphrase, which the agent's user may read".to_owned()
            }
            Self::File { .. } => {
                "it has to be a certificate in PEM, followed by those that it rests on".to_owned()
            }
            Self::OpenKey { path, .. } => {
                format!("`chmod 600 {}`; it has to belong to the agent's user", path.display())
            }
            Self::Pair { .. } => "give the key that the certificate was made for".to_owned(),
        }
    }
}

/// Reads a certificate and its key.
///
/// # Errors
///
/// One cannot be read or does not go with the other, or the key is everybody's.
pub(super) fn read(certificate: &Path, key: &Path) -> Result<Tls, CertificateError> {
    let chain = tls::certificates(certificate).map_err(|source| CertificateError::File {
        path: certificate.to_owned(),
        setting: "listen.certificate",
        source,
    })?;
    let expires = chain.first().and_then(|first| validity::end(first));
    if expires.is_some_and(|end| end < Timestamp::now()) {
        warn!(path = %certificate.display(), "The certificate has expired.");
    }
    let key_read = read_key(key)?;
    let pair = |source| CertificateError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key_read)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), expires })
}

/// Reads a key that not everybody can. The group may: on Debian keys have one of their own.
fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let setting = "listen.key";
    let failed = |source| CertificateError::File { path: path.to_owned(), setting, source };
    let mut file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(CertificateError::OpenKey { path: path.to_owned(), mode });
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(failed)?;
    tls::private_key(&text).map_err(failed)
}
