//! What this process encrypts with, and reading the files of certificates.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Returns what TLS is made with.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Makes it what libraries use. To be called before an HTTP client is made: that panics without,
/// even one that speaks to a socket only.
pub fn install_provider() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // An error says that somebody was faster, which is as good.
        let _installed = ring::default_provider().install_default().is_ok();
    });
}

/// Reads the certificates in a PEM file, of which there is at least one.
///
/// # Errors
///
/// The file cannot be read, or there is none in it.
pub fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let text = std::fs::read(path)?;
    let read: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(unreadable)?;
    if read.is_empty() { Err(unreadable(PemError::NoItemsFound)) } else { Ok(read) }
}

/// Reads the private key that `text` holds in PEM.
///
/// # Errors
///
/// There is none, or it has a passphrase.
pub fn private_key(text: &[u8]) -> io::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(text).map_err(unreadable)
}

fn unreadable(error: PemError) -> io::Error {
    let what = match error {
        PemError::NoItemsFound => "there is nothing in it that is wanted, in PEM".to_owned(),
        other => other.to_string(),
    };
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Returns what TLS says, where that is among the causes of `error`.
#[must_use]
pub fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(said) = error.downcast_ref() {
            return Some(said);
        }
        // What an error of the system's holds is not its cause: the cause of that is.
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = held.map(|held| held as _).or_else(|| error.source());
    }
    None
}
