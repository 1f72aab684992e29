//! Forgetting runs.

use jiff::Timestamp;
use runner::run_id::RunId;
use rusqlite::{OptionalExtension, params};

use super::{SqlContext, Store, StoreError};
use crate::peer::Scope;
use crate::run::status::RunStatus;

impl Store {
    /// Removes an ended run from the records.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotEnded`]: it has not ended.
    pub(crate) async fn remove(&self, run: &RunId) -> Result<(), StoreError> {
        let run = run.clone();
        self.writer
            .write(move |transaction| {
                let action = "remove a run";
                let status: Option<String> = transaction
                    .query_row("select status from runs where id = ?1", [run.as_str()], |row| {
                        row.get(0)
                    })
                    .optional()
                    .doing(action)?;
                let status =
                    status.ok_or_else(|| StoreError::NoSuchRun { reference: run.to_string() })?;
                if !RunStatus::named(&status).is_some_and(RunStatus::is_ended) {
                    return Err(StoreError::NotEnded { run: run.to_string() });
                }
                transaction
                    .execute("delete from runs where id = ?1", [run.as_str()])
                    .doing(action)?;
                Ok(())
            })
            .await
    }

    /// Lists the runs in `scope` that ended before `time`, each with the bytes that it takes as far
    /// as they were counted.
    pub(crate) async fn ended_before(
        &self,
        time: Timestamp,
        scope: Scope,
    ) -> Result<Vec<(RunId, u64)>, StoreError> {
        self.readers
            .read(move |connection| {
                let action = "list old runs";
                let mut statement = connection
                    .prepare_cached(
                        "select id, coalesce(bytes, 0) from runs
                         where ended_at < ?1 and (?2 is null or uid = ?2) order by number",
                    )
                    .doing(action)?;
                let found: Vec<(String, i64)> = statement
                    .query_map(params![time.as_microsecond(), scope.uid()], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })
                    .and_then(Iterator::collect)
                    .doing(action)?;
                let bytes = |number: i64| u64::try_from(number).unwrap_or_default();
                Ok(found.iter().filter_map(|(id, n)| Some((id.parse().ok()?, bytes(*n)))).collect())
            })
            .await
    }
}
