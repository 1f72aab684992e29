//! Why a run could not be prepared.

use images::cache::EnvironmentError;
use serde::{Deserialize, Serialize};
use snapshots::path_error::PathError;

use crate::exit_record::ExitReason;
use crate::source::SourceError;

/// Why a run cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum NotPrepared {
    /// Its source cannot be laid out.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Its environment cannot be made.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// A file of the run directory cannot be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The place where it was prepared says so.
    #[error("{}", .0.message)]
    Told(Told),
    /// It was asked to end meanwhile.
    #[error("cancelled before the script started")]
    Cancelled,
}

impl NotPrepared {
    /// Returns what that means for the run.
    #[must_use]
    pub fn reason(&self) -> ExitReason {
        match self {
            Self::Source(_) => ExitReason::CannotStart,
            Self::Environment(_) => ExitReason::EnvironmentFailed,
            Self::Path(_) => ExitReason::AgentFault,
            Self::Told(told) => told.reason,
            Self::Cancelled => ExitReason::Cancelled,
        }
    }

    /// Returns what to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Environment(error) => error.hint(),
            Self::Told(told) => told.hint.clone(),
            Self::Source(_) | Self::Path(_) | Self::Cancelled => None,
        }
    }
}

/// What another machine says of something that failed there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// What it means for the run.
    pub reason: ExitReason,
    /// The error and its causes, on one line.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}
