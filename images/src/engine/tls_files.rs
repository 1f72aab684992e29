//! What TLS with an engine is spoken with: files as `docker` has them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::EngineError;
use crate::tls;

/// A directory with `ca.pem`, `cert.pem` and `key.pem`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsFiles {
    directory: PathBuf,
}

impl TlsFiles {
    pub(super) fn within(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whoever signed the engine's certificate.
    pub(super) fn authority(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Who we are.
    pub(super) fn certificate(&self) -> PathBuf {
        self.directory.join("cert.pem")
    }

    /// What proves it.
    pub(super) fn key(&self) -> PathBuf {
        self.directory.join("key.pem")
    }

    /// Reads them: the engine has to be known to the authority, and we show our certificate.
    pub(super) fn client(&self) -> Result<Arc<ClientConfig>, EngineError> {
        let path = self.key();
        let key = PrivateKeyDer::from_pem_file(&path).map_err(|error| bad(&path, error))?;
        let path = self.certificate();
        let certificates = certificates(&path)?;
        let mut roots = RootCertStore::empty();
        for authority in self::certificates(&self.authority())? {
            roots.add(authority).map_err(|error| unusable(&self.authority(), error))?;
        }
        let client = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&path, error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates, key)
            .map_err(|error| unusable(&path, error))?;
        Ok(Arc::new(client))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, EngineError> {
    tls::certificates(path).map_err(|error| bad(path, error))
}

fn bad(path: &Path, error: PemError) -> EngineError {
    let source = match error {
        PemError::Io(error) => error,
        PemError::NoItemsFound => invalid("there is nothing in it that is wanted, in PEM"),
        other => invalid(other.to_string()),
    };
    EngineError::Certificates { path: path.to_owned(), source }
}

fn unusable(path: &Path, error: rustls::Error) -> EngineError {
    EngineError::Certificates { path: path.to_owned(), source: invalid(error.to_string()) }
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_is_missing_or_something_else_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let files = TlsFiles::within(directory.path());
        let said = || match files.client().unwrap_err() {
            EngineError::Certificates { path, source } => {
                format!("{}: {source}", path.file_name().unwrap().display())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(said(), "key.pem: No such file or directory (os error 2)");
        fs::write(files.key(), "not a key").unwrap();
        assert_eq!(said(), "key.pem: there is nothing in it that is wanted, in PEM");
    }
}
