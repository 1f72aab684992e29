//! Why an environment cannot be given a name, or not be found by it.

use std::path::PathBuf;

use snapshots::path_error::PathError;

/// Why an environment cannot be given a name, or not be found by it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegisterError {
    /// No environment can be called this.
    #[error("{name:?} cannot be the name or version of an environment")]
    Name {
        /// The name.
        name: String,
    },
    /// The name is Azure's own.
    #[error("names that begin like {name:?} are Azure's own")]
    Reserved {
        /// The name.
        name: String,
    },
    /// What a version is, it stays.
    #[error("{name:?} is registered in version {version} already, and is another environment")]
    Exists {
        /// The name.
        name: String,
        /// The version.
        version: String,
    },
    /// The file does not say what it should.
    #[error("{path:?} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The file is of a version of this program that is still to come.
    #[error("{path:?} was written by a newer version of trainyard (format {version})")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// The file system said no.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl RegisterError {
    /// Returns what to do next.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Name { .. } => {
                "it has letters, digits, '-', '_' and '.', of which the first is a letter or digit"
            }
            Self::Reserved { .. } => "choose one that begins neither with Microsoft nor AzureML",
            Self::Exists { .. } => "choose another with --version, or leave it out for the next",
            Self::Damaged { .. } => "remove the file and register the environment again",
            Self::Newer { .. } => "use that version of trainyard",
            Self::Path(_) => return None,
        })
    }
}
