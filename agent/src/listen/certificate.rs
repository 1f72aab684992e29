//! The certificate that the agent shows, and its key. Certificates are renewed every few weeks: the
//! files are read again when they change, without anybody losing a connection.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use images::tls;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use super::validity;
use crate::task;

/// How often it is looked whether the files changed: two calls of the system.
const LOOK: Duration = Duration::from_secs(5);

/// What the agent shows to whoever connects, and where the next one will be.
#[derive(Debug)]
pub(crate) struct Certificate {
    file: PathBuf,
    key: PathBuf,
    /// The files as they were when they were last read, whatever came of that.
    seen: Mutex<[Option<Stamp>; 2]>,
    now: RwLock<Pair>,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
struct Pair {
    certified: Arc<CertifiedKey>,
    expires: Option<Timestamp>,
}

/// What changes when a file is written or another takes its place: device, number, and when its
/// content or its attributes last did.
type Stamp = (u64, u64, i64, i64);

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

impl Certificate {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    ///
    /// One cannot be read or does not go with the other, or the key is everybody's.
    pub(super) fn open(file: &Path, key: &Path) -> Result<Arc<Self>, CertificateError> {
        // First, so that what changes meanwhile is read again.
        let seen = Mutex::new([file, key].map(stamp));
        let now = RwLock::new(read(file, key)?);
        Ok(Arc::new(Self { file: file.to_owned(), key: key.to_owned(), seen, now }))
    }

    /// Returns the file of the certificate.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Returns until when the one that is shown is good, where that can be read.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        self.now().expires
    }

    /// Returns what lets connections in with the one that is shown then.
    pub(crate) fn acceptor(self: &Arc<Self>) -> TlsAcceptor {
        let config = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has ciphers for the versions of TLS that it was made for");
        let resolver = Arc::clone(self) as Arc<dyn ResolvesServerCert>;
        let mut config = config.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// Reads the files again if they changed. What cannot be used changes nothing, and is said once.
    fn look(&self) {
        let found = [&self.file, &self.key].map(|file| stamp(file));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *seen, found) == found {
            return;
        }
        match read(&self.file, &self.key) {
            Ok(pair) => {
                info!(path = %self.file.display(), "Shows a new certificate.");
                *self.now.write().unwrap_or_else(PoisonError::into_inner) = pair;
            }
            Err(error) => {
                let hint = error.hint();
                let error = anyhow::Error::from(error);
                warn!(hint, "Still shows the old certificate: {error:#}.");
            }
        }
    }

    fn now(&self) -> Pair {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now().certified)
    }
}

/// Shows each new certificate from a few seconds after its files were written on.
pub(crate) async fn renew(certificate: Arc<Certificate>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let certificate = Arc::clone(&certificate);
        task::blocking(move || certificate.look()).await;
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let found = file.metadata().ok()?;
    Some((found.dev(), found.ino(), found.ctime(), found.ctime_nsec()))
}

fn read(certificate: &Path, key: &Path) -> Result<Pair, CertificateError> {
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
    let certified = CertifiedKey::from_der(chain, key_read, &tls::provider()).map_err(pair)?;
    Ok(Pair { certified: Arc::new(certified), expires })
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
