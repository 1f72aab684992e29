//! What runs that are over take on the disk. Each is counted once, when it ended.

use runner::run_id::RunId;
use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::{SqlContext, Store, StoreError};

/// How many runs are handed out to be counted at once.
const BATCH: i64 = 100;

/// What one run takes, or all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunSize {
    /// Bytes of directories.
    pub(crate) bytes: u64,
    /// Of these, what scripts printed.
    pub(crate) log_bytes: u64,
}

impl Store {
    /// Returns what all runs take that were counted.
    pub(crate) async fn size_of_runs(&self) -> Result<RunSize, StoreError> {
        let action = "add up what runs take";
        let sum = "select coalesce(sum(bytes), 0), coalesce(sum(log_bytes), 0) from runs
                   where bytes is not null";
        let bytes = |number: i64| u64::try_from(number).unwrap_or_default();
        self.readers
            .read(move |connection| {
                let mut statement = connection.prepare_cached(sum).doing(action)?;
                let sum = statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)));
                let (all, logs) = sum.doing(action)?;
                Ok(RunSize { bytes: bytes(all), log_bytes: bytes(logs) })
            })
            .await
    }

    /// Returns some of the runs that are over and were not counted; none once all were.
    pub(crate) async fn not_counted(&self) -> Result<Vec<RunId>, StoreError> {
        let action = "look for runs that were not counted";
        self.readers
            .read(move |connection| {
                let mut statement = connection
                    .prepare_cached(
                        "select id from runs where ended_at is not null and bytes is null
                         order by number limit ?1",
                    )
                    .doing(action)?;
                let ids: Vec<String> = statement
                    .query_map([BATCH], |row| row.get(0))
                    .and_then(Iterator::collect)
                    .doing(action)?;
                Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
            })
            .await
    }

    /// Keeps what runs take that are over; one that was removed meanwhile takes nothing.
    pub(crate) async fn set_sizes(&self, sizes: Vec<(RunId, RunSize)>) -> Result<(), StoreError> {
        let action = "keep what runs take";
        let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.writer
            .write(move |transaction| {
                let mut update = transaction
                    .prepare_cached("update runs set bytes = ?2, log_bytes = ?3 where id = ?1")
                    .doing(action)?;
                for (run, size) in &sizes {
                    let (bytes, logs) = (number(size.bytes), number(size.log_bytes));
                    update.execute(params![run.as_str(), bytes, logs]).doing(action)?;
                }
                Ok(())
            })
            .await
    }
}
