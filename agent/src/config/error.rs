//! Why settings could not be read.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// Why settings could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file is there, but not for us.
    #[error("cannot read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// There is no such setting.
    #[error("{}:{line}: unknown key {key:?}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What was set.
        key: String,
    },
    /// The setting exists, but a project must not make it.
    #[error("{}:{line}: {key:?} cannot be set by a project", path.display())]
    NotHere {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What was set.
        key: &'static str,
    },
    /// The value is not one of this setting's.
    #[error("{}:{line}: {key:?} must be {expected}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What was set.
        key: &'static str,
        /// What may be set.
        expected: String,
    },
    /// An environment variable's value is not one of its setting's.
    #[error("{name}={} must be {expected}", value.display())]
    Variable {
        /// The variable.
        name: &'static str,
        /// What it says.
        value: OsString,
        /// What it may say.
        expected: String,
    },
}

impl ConfigError {
    /// Returns what to do next.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unknown { .. } => Some("`trainyard config show` lists what can be set"),
            Self::NotHere { .. } => {
                Some("set it in your own configuration file or in the environment")
            }
            _ => None,
        }
    }
}
