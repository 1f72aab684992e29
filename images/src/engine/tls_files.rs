//! What TLS with an engine is spoken with: files as `docker` has them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
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
        let key = std::fs::read(&path).and_then(|text| tls::private_key(&text));
        let key = key.map_err(|source| unusable(&path, source))?;
        let path = self.certificate();
        let certificates = certificates(&path)?;
        let mut roots = RootCertStore::empty();
        for authority in self::certificates(&self.authority())? {
            roots.add(authority).map_err(|error| refused(&self.authority(), &error))?;
        }
        let client = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(&path, &error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates, key)
            .map_err(|error| refused(&path, &error))?;
        Ok(Arc::new(client))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, EngineError> {
    tls::certificates(path).map_err(|source| unusable(path, source))
}

fn unusable(path: &Path, source: io::Error) -> EngineError {
    EngineError::Certificates { path: path.to_owned(), source }
}

fn refused(path: &Path, error: &rustls::Error) -> EngineError {
    unusable(path, io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
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
