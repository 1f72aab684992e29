//! Counting runs.

use runner::run_id::RunId;
use rusqlite::Connection;

use super::{SqlContext, Store, StoreError};

/// Counts the runs of a user that are not over.
pub(super) fn unfinished_of(connection: &Connection, uid: u32) -> Result<u64, StoreError> {
    let count: i64 = connection
        .prepare_cached("select count(*) from runs where ended_at is null and uid = ?1")
        .and_then(|mut statement| statement.query_row([uid], |row| row.get(0)))
        .doing("count the runs of a user")?;
    Ok(u64::try_from(count).unwrap_or_default())
}

impl Store {
    /// Says how many runs stand where. Statuses without a run are left out.
    pub(crate) async fn count_by_status(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.readers
            .read(|connection| {
                let action = "count the runs";
                let mut statement = connection
                    .prepare_cached("select status, count(*) from runs group by status")
                    .doing(action)?;
                let counted = statement.query_map([], |row| {
                    let count: i64 = row.get(1)?;
                    Ok((row.get(0)?, u64::try_from(count).unwrap_or_default()))
                });
                counted.and_then(Iterator::collect).doing(action)
            })
            .await
    }

    /// Counts the runs of a user that are not over.
    pub(crate) async fn unfinished_of(&self, uid: u32) -> Result<u64, StoreError> {
        self.readers.read(move |connection| unfinished_of(connection, uid)).await
    }

    /// Returns the ids of all runs of a user.
    pub(crate) async fn ids_of(&self, uid: u32) -> Result<Vec<RunId>, StoreError> {
        self.readers
            .read(move |connection| {
                let action = "list the runs of a user";
                let mut statement = connection
                    .prepare_cached("select id from runs where uid = ?1")
                    .doing(action)?;
                let ids: Vec<String> = statement
                    .query_map([uid], |row| row.get(0))
                    .and_then(Iterator::collect)
                    .doing(action)?;
                Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
            })
            .await
    }

    /// Goes to the records and back, once to read and once to write, without changing anything.
    ///
    /// # Errors
    ///
    /// They cannot be read or written now.
    pub(crate) async fn round_trip(&self) -> Result<(), StoreError> {
        self.answers().await?;
        self.writer.write(|_| Ok(())).await
    }
}
