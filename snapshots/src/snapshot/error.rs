//! Why a snapshot could not be taken.

use std::path::PathBuf;

use crate::ignore_rules::IgnoreError;
use crate::limits::LimitError;
use crate::path_error::PathError;
use crate::store::StoreError;

/// Why a snapshot could not be taken or listed. Nothing was recorded.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file or directory could not be read.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A symbolic link leads out of the source.
    #[error("the link {path:?} leads out of the source directory, to {target:?}")]
    LinkLeadsOut {
        /// The link, relative to the source.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A link that should be followed leads to a directory it is in, or to itself.
    #[error("the link {path:?} leads round in a circle")]
    LinkLoop {
        /// The link, relative to the source.
        path: PathBuf,
    },
    /// A file changed each time it was read.
    #[error("{path:?} changed while it was read, {attempts} times in a row")]
    ChangedWhileRead {
        /// The file, relative to the source.
        path: PathBuf,
        /// How many times it was read.
        attempts: u32,
    },
    /// The source is one of the directories that are never part of a snapshot.
    #[error("{path:?} is a state directory of this program, which no snapshot can hold")]
    StateDirectory {
        /// The source.
        path: PathBuf,
    },
    /// The snapshot would be too large.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The ignore rules could not be read.
    #[error(transparent)]
    Ignore(#[from] IgnoreError),
    /// The objects could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SnapshotError {
    /// Returns one sentence on what to do next.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Path(_) => Some("make it readable, or add it to the ignore file"),
            Self::LinkLeadsOut { .. } => Some(
                "add the link to the ignore file, or have links out of the source followed to \
                 store what they lead to",
            ),
            Self::LinkLoop { .. } => Some("remove the link or add it to the ignore file"),
            Self::ChangedWhileRead { .. } => {
                Some("stop what writes to the file, or add it to the ignore file")
            }
            Self::StateDirectory { .. } => Some("choose the directory that holds the source"),
            Self::Limit(error) => Some(error.hint()),
            Self::Ignore(error) => error.hint(),
            Self::Store(_) => None,
        }
    }
}
