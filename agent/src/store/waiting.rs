//! How a run waits in the queue, and changing that.

use runner::run_id::RunId;
use rusqlite::{OptionalExtension, Transaction, params};

use super::row::{row, status};
use super::{RunRow, SqlContext, Store, StoreError};
use crate::api::wire::waiting::ChangeWaiting;
use crate::run::status::RunStatus;

impl Store {
    /// Changes how a run waits, and returns it as it waits then.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotWaiting`]: it is not in the queue any more.
    pub(crate) async fn change_waiting(
        &self,
        run: &RunId,
        change: ChangeWaiting,
    ) -> Result<RunRow, StoreError> {
        let run = run.clone();
        self.writer.write(move |transaction| change_waiting(transaction, &run, &change)).await
    }

    /// Returns where a run stands; `None` where there is none.
    pub(crate) async fn status(&self, run: &RunId) -> Result<Option<RunStatus>, StoreError> {
        let run = run.clone();
        self.readers.read(move |connection| find(connection, &run)).await
    }
}

fn find(connection: &rusqlite::Connection, run: &RunId) -> Result<Option<RunStatus>, StoreError> {
    let action = "look up a run";
    let mut statement =
        connection.prepare_cached("select status from runs where id = ?1").doing(action)?;
    let found = statement.query_row([run.as_str()], |row| Ok(status(row, 0))).optional();
    found.doing(action)?.transpose()
}

fn change_waiting(
    transaction: &Transaction,
    run: &RunId,
    change: &ChangeWaiting,
) -> Result<RunRow, StoreError> {
    match find(transaction, run)? {
        None => return Err(StoreError::NoSuchRun { reference: run.to_string() }),
        Some(RunStatus::Queued) => {}
        Some(status) => return Err(StoreError::NotWaiting { run: run.to_string(), status }),
    }
    let environment = change.environment.as_ref().map(serde_json::to_string).transpose();
    let environment =
        environment.map_err(|source| StoreError::Record { run: run.to_string(), source })?;
    let mut update = transaction
        .prepare_cached(
            "update runs set
                 held = coalesce(?2, held),
                 priority = coalesce(?3, priority),
                 target = coalesce(?4, target),
                 request = json_set(request,
                     '$.target', coalesce(?4, request ->> '$.target'),
                     '$.environment', json(coalesce(?5, request -> '$.environment')))
             where id = ?1",
        )
        .doing("change how a run waits")?;
    update
        .execute(params![run.as_str(), change.held, change.priority, change.target, environment])
        .doing("change how a run waits")?;
    row(transaction, run.as_str())
}
