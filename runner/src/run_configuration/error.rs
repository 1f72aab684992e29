//! Why a run configuration file could not be read.

use std::io;
use std::path::PathBuf;

use images::yaml::Problem;

/// Why a run configuration file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The file, or one it names, cannot be read.
    #[error("cannot read run configuration {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// It is a directory, a pipe or a device.
    #[error("run configuration {path:?} is not a file")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// It is larger than any such file.
    #[error("run configuration {path:?} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit_bytes: u64,
    },
    /// What it says makes no sense.
    #[error("cannot use run configuration {path:?}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: Box<Problem>,
    },
}

impl ConfigurationError {
    /// Returns one sentence on what to do next.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("Name the file with its path, as in -c .azureml/local.runconfig.")
            }
            Self::TooLarge { .. } | Self::NotAFile { .. } => {
                Some("-c takes a .runconfig file or a v2 command job.")
            }
            Self::Read { .. } | Self::Content { .. } => None,
        }
    }
}
