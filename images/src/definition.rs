//! Environment definitions, as users have them on disk.

pub mod requirements;

use std::path::PathBuf;

/// Why a definition cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The file itself is not there.
    #[error("requirements file {path:?} does not exist")]
    Missing {
        /// The file.
        path: PathBuf,
    },
}
