//! Context for I/O errors: what was being done to which path.

use std::io;
use std::path::{Path, PathBuf};

/// An I/O call that did not work, with what it was for.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path:?}")]
pub struct PathError {
    /// The verb, as in "read" or "create".
    pub action: &'static str,
    /// What it was done to.
    pub path: PathBuf,
    /// What the system answered.
    pub source: io::Error,
}

/// Says what was being done to which path when an I/O call failed.
pub trait IoContext<T> {
    /// Names the action and the path in the error.
    ///
    /// # Errors
    ///
    /// The original error, wrapped.
    fn context(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, PathError>;
}

impl<T, E: Into<io::Error>> IoContext<T> for Result<T, E> {
    fn context(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, PathError> {
        self.map_err(|source| PathError {
            action,
            path: path.as_ref().to_owned(),
            source: source.into(),
        })
    }
}
