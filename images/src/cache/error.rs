//! What can go wrong with the cache.

use std::path::PathBuf;

use snapshots::path_error::PathError;

use crate::builder::{BuildError, FailedBuild};
use crate::definition::DefinitionError;
use crate::engine::EngineError;
use crate::interpreter::InterpreterError;

/// Why an environment cannot be had, shown or removed.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The interpreter is not usable.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// The definition cannot be used.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// A tool gave up building it.
    #[error("{}{}", .build.what, told(.build))]
    Failed {
        /// What happened, with the last lines of the log.
        build: FailedBuild,
        /// The whole log.
        log: PathBuf,
    },
    /// It could not be built for another reason.
    #[error("cannot build the environment")]
    Build {
        /// The reason.
        source: BuildError,
    },
    /// The engine did not do its part.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It was asked to stop.
    #[error("the preparation of the environment was cancelled")]
    Cancelled,
    /// No environment has such a key.
    #[error("no environment has a key that starts with {prefix:?}")]
    NotFound {
        /// What was asked for.
        prefix: String,
    },
    /// Several environments have such a key.
    #[error("several environments have a key that starts with {prefix:?}: {}", .candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// The keys, shortened.
        candidates: Vec<String>,
    },
    /// It cannot be removed now.
    #[error("environment {key} is in use")]
    InUse {
        /// Its key, shortened.
        key: String,
    },
    /// A newer version has written the record.
    #[error("{path:?} was written by a newer version")]
    Newer {
        /// The record.
        path: PathBuf,
    },
    /// A file of the cache cannot be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Returns the last lines of the log as they follow the message.
fn told(build: &FailedBuild) -> String {
    if build.last_lines.is_empty() {
        return String::new();
    }
    format!(":\n  {}", build.last_lines.join("\n  "))
}

impl From<BuildError> for EnvironmentError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Cancelled | BuildError::Engine(EngineError::Cancelled) => Self::Cancelled,
            BuildError::Engine(error) => Self::Engine(error),
            BuildError::Definition(error) => Self::Definition(error),
            source => Self::Build { source },
        }
    }
}

impl EnvironmentError {
    /// Returns what to do next, for the command line to print after the error.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Engine(error) => error.hint(),
            Self::Interpreter(error) => error.hint().map(str::to_owned),
            Self::Definition(error) => error.hint().map(str::to_owned),
            Self::Failed { build, log } => Some(build.cause.hint().map_or_else(
                || format!("The whole log is in {}", log.display()),
                |hint| format!("{hint} The whole log is in {}", log.display()),
            )),
            Self::Build { source: BuildError::Variable { .. } } => {
                Some("Set the variable where the agent runs, and start the agent again.".to_owned())
            }
            Self::Build { source: BuildError::NoUv } => {
                Some("Install uv where the agent runs, and start the agent again.".to_owned())
            }
            Self::InUse { .. } => Some("Wait for the runs that use it, or cancel them.".to_owned()),
            Self::Ambiguous { .. } => Some("Give more of the key.".to_owned()),
            _ => None,
        }
    }

    /// Says whether a registry did not let us have an image.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(
            self,
            Self::Engine(EngineError::Denied { .. })
                | Self::Build { source: BuildError::Engine(EngineError::Denied { .. }) }
        )
    }
}
