//! The agent's records: domain calls, one database behind them.
//!
//! SQLite, written by one thread that puts all requests which wait into one transaction, so that
//! a burst of submissions costs one fsync. A call that writes returns when its transaction is on
//! the disk. Reads go through connections of their own and never wait for a write.

mod again;
mod changes;
mod connection;
mod documents;
mod metrics;
mod migrations;
mod readers;
mod reference;
mod removal;
mod row;
mod sizes;
mod statistics;
mod submission;
mod tokens;
mod waiting;
mod writer;

use std::path::{Path, PathBuf};

pub(crate) use again::NextAttempt;
pub(crate) use changes::{Change, Facts, NewAttempt};
pub(crate) use documents::ListFilter;
pub(crate) use metrics::{MOST_PER_RUN as MOST_METRICS, MetricRow};
pub(crate) use row::RunRow;
pub(crate) use sizes::RunSize;
pub(crate) use submission::{Accepted, NewRun};
pub(crate) use tokens::TokenRow;

use readers::Readers;
use writer::Writer;

use crate::run::status::{RunStatus, TransitionDenied};

/// The records of one agent.
#[derive(Debug)]
pub(crate) struct Store {
    writer: Writer,
    readers: Readers,
}

/// Why the records cannot be used, read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The file cannot be opened or set up.
    #[error("cannot open the records in {path:?}")]
    Open {
        /// The database file.
        path: PathBuf,
        /// What SQLite answered.
        source: rusqlite::Error,
    },
    /// A newer program wrote it.
    #[error("the records in {path:?} have version {found}, newer than this program's {known}")]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The version found.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// It is no database of ours.
    #[error("{path:?} is not a database of trainyard's records")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// SQLite finds its structure broken, or a migration is not the one that was applied.
    #[error("the records in {path:?} are damaged: {finding}")]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What is wrong.
        finding: String,
    },
    /// The copy that is made before an upgrade could not be made.
    #[error("cannot back up the records to {path:?} before upgrading them")]
    Backup {
        /// The copy.
        path: PathBuf,
        /// What SQLite answered.
        source: rusqlite::Error,
    },
    /// A statement could not be carried out.
    #[error("cannot {action} in the records")]
    Statement {
        /// What it was for.
        action: &'static str,
        /// What SQLite answered.
        source: rusqlite::Error,
    },
    /// A record does not read as what was written.
    #[error("a record of run {run} cannot be understood")]
    Record {
        /// The run.
        run: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// No run is meant by what was given.
    #[error("no run is named {reference:?}")]
    NoSuchRun {
        /// What was given.
        reference: String,
    },
    /// Several runs are meant by what was given.
    #[error("{reference:?} could be any of {} runs", candidates.len())]
    Ambiguous {
        /// What was given.
        reference: String,
        /// Their ids, the newest first.
        candidates: Vec<String>,
    },
    /// The run is over, or not there yet.
    #[error(transparent)]
    Denied(#[from] TransitionDenied),
    /// The run has not ended, so it cannot be removed.
    #[error("run {run} has not ended")]
    NotEnded {
        /// The run.
        run: String,
    },
    /// The run is not in the queue, so that it cannot wait in another way.
    #[error("run {run} is {status} and waits for nothing any more")]
    NotWaiting {
        /// The run.
        run: String,
        /// Where it stands.
        status: RunStatus,
    },
    /// An idempotency key came again with another request.
    #[error("the idempotency key {key:?} stands for run {run}, which was submitted otherwise")]
    KeyReused {
        /// The key.
        key: String,
        /// What it stands for.
        run: String,
    },
    /// The user has as many runs as they may.
    #[error(
        "you have {used} runs that are not over, of {limit} that a user of this agent may have"
    )]
    TooMany {
        /// How many they have.
        used: u64,
        /// How many they may have.
        limit: u64,
    },
    /// No token is meant by what was given.
    #[error("no token is named {reference:?}")]
    NoSuchToken {
        /// What was given.
        reference: String,
    },
    /// Several tokens are meant by what was given.
    #[error("{reference:?} could be any of {} tokens", candidates.len())]
    AmbiguousToken {
        /// What was given.
        reference: String,
        /// Their ids, the oldest first.
        candidates: Vec<String>,
    },
    /// The user has a token of that name.
    #[error("you have a token named {name:?}")]
    TokenExists {
        /// The name.
        name: String,
    },
    /// The user has as many tokens as they may.
    #[error("you have {limit} tokens, and no user may have more")]
    TooManyTokens {
        /// How many they may have.
        limit: i64,
    },
    /// The thread that writes is gone.
    #[error("the records are closed")]
    Closed,
}

impl StoreError {
    /// Returns what to do next.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Newer { .. } => Some("use the newer trainyard; nothing was changed"),
            Self::Damaged { .. } => Some(
                "keep the file; `sqlite3 agent.db .recover` gets back what can be, and an older agent.db.v* beside it is the copy made before an upgrade",
            ),
            Self::NoSuchRun { .. } => Some("`trainyard list` shows the runs"),
            Self::Ambiguous { .. } => Some("give more of the id"),
            Self::NotEnded { .. } => Some("`trainyard cancel` ends it"),
            Self::NotWaiting { .. } => {
                Some("only runs in the queue can be held, released or moved")
            }
            Self::KeyReused { .. } => Some("use a new key for a new submission"),
            Self::TooMany { .. } => {
                Some("wait for one with `trainyard wait`, or end one with `trainyard cancel`")
            }
            Self::NoSuchToken { .. } => Some("`trainyard token list` shows the tokens"),
            Self::AmbiguousToken { .. } => Some("give the id"),
            Self::TokenExists { .. } | Self::TooManyTokens { .. } => {
                Some("`trainyard token revoke` removes one")
            }
            _ => None,
        }
    }

    /// Says whether the disk is full.
    pub(crate) fn is_full(&self) -> bool {
        let (Self::Open { source, .. } | Self::Statement { source, .. }) = self else {
            return false;
        };
        source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
    }
}

/// Names what was being done when SQLite said no.
trait SqlContext<T> {
    fn doing(self, action: &'static str) -> Result<T, StoreError>;
}

impl<T> SqlContext<T> for rusqlite::Result<T> {
    fn doing(self, action: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Statement { action, source })
    }
}

impl Store {
    /// Opens the records in the database file `path`: creates them, or checks and upgrades
    /// them, after a backup.
    ///
    /// # Errors
    ///
    /// They cannot be opened, are damaged or were written by a newer program. They are left as
    /// they were.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = connection::open_for_writing(path)?;
        Ok(Self { writer: Writer::start(connection), readers: Readers::new(path) })
    }

    /// Says how many transactions were written so far, and how many changes they held.
    pub(crate) fn writes(&self) -> (u64, u64) {
        self.writer.counts()
    }
}

#[cfg(test)]
pub(crate) mod tests;
