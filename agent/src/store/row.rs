//! A run's row, as the agent works with it.

use images::environment::PreparedEnvironment;
use jiff::Timestamp;
use runner::cancel_request::CancelRequest;
use runner::exit_record::ExitRecord;
use runner::run_id::RunId;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::de::DeserializeOwned;

use super::{SqlContext, Store, StoreError};
use crate::api::wire::submission::SubmitRequest;
use crate::objects::StoreOf;
use crate::run::status::RunStatus;

/// What the records say of a run that is not over: all that is needed to carry it out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunRow {
    /// Its id.
    pub(crate) id: RunId,
    /// Who handed it in.
    pub(crate) uid: u32,
    /// Where its source is.
    pub(crate) store: StoreOf,
    /// Where it stands.
    pub(crate) status: RunStatus,
    /// What was asked, without the values of secrets.
    pub(crate) request: SubmitRequest,
    /// The environment, once it was prepared.
    pub(crate) environment: Option<PreparedEnvironment>,
    /// Who asked for its end.
    pub(crate) cancel: Option<CancelRequest>,
    /// When it was accepted.
    pub(crate) created: Timestamp,
    /// The order in which runs were accepted.
    pub(crate) number: i64,
    /// Its priority in the queue.
    pub(crate) priority: i32,
    /// Whether it waits until somebody releases it.
    pub(crate) held: bool,
    /// When its next attempt may begin.
    pub(crate) not_before: Option<Timestamp>,
    /// The machine's boot in which its attempt was last begun; `None` if it never was.
    pub(crate) boot_id: Option<String>,
    /// Which attempt is on or comes next, from 1.
    pub(crate) attempt: u32,
    /// What ended the one before.
    pub(crate) tried_after: Option<String>,
}

pub(super) const ROW_COLUMNS: &str = "id, status, request, environment, cancel, created_at,
    (select boot_id from attempts where run = runs.number and attempt = runs.attempt
     order by number desc limit 1), uid, number, priority, held, not_before, attempt, tried_after,
    store";

impl Store {
    /// Returns the run with this id, whether it is over or not.
    pub(crate) async fn row(&self, run: &RunId) -> Result<RunRow, StoreError> {
        let run = run.clone();
        self.readers.read(move |connection| row(connection, run.as_str())).await
    }

    /// Returns every run that is not over, in the order in which they were accepted.
    pub(crate) async fn unfinished(&self) -> Result<Vec<RunRow>, StoreError> {
        self.readers
            .read(|connection| {
                let sql = format!(
                    "select {ROW_COLUMNS} from runs where ended_at is null order by number"
                );
                let action = "list the runs that are not over";
                let mut statement = connection.prepare_cached(&sql).doing(action)?;
                let mut rows = statement.query([]).doing(action)?;
                let mut runs = Vec::new();
                while let Some(row) = rows.next().doing(action)? {
                    runs.push(read_row(row)?);
                }
                Ok(runs)
            })
            .await
    }
}

pub(super) fn row(connection: &Connection, run: &str) -> Result<RunRow, StoreError> {
    let sql = format!("select {ROW_COLUMNS} from runs where id = ?1");
    let mut statement = connection.prepare_cached(&sql).doing("look up a run")?;
    let found = statement.query_row([run], |row| Ok(read_row(row))).optional();
    found
        .doing("look up a run")?
        .ok_or_else(|| StoreError::NoSuchRun { reference: run.to_owned() })?
}

fn read_row(row: &Row) -> Result<RunRow, StoreError> {
    let action = "read a run";
    let id: String = row.get(0).doing(action)?;
    Ok(RunRow {
        status: status(row, 1)?,
        request: json(&id, Some(row.get(2).doing(action)?))?.ok_or(StoreError::Closed)?,
        environment: json(&id, row.get(3).doing(action)?)?,
        cancel: json(&id, row.get(4).doing(action)?)?,
        created: time(row.get(5).doing(action)?),
        boot_id: row.get(6).doing(action)?,
        uid: row.get(7).doing(action)?,
        store: StoreOf::from_uid(row.get(14).doing(action)?),
        number: row.get(8).doing(action)?,
        priority: row.get(9).doing(action)?,
        held: row.get(10).doing(action)?,
        not_before: row.get::<_, Option<i64>>(11).doing(action)?.map(time),
        attempt: row.get(12).doing(action)?,
        tried_after: row.get(13).doing(action)?,
        id: id.parse().map_err(|_| StoreError::NoSuchRun { reference: id })?,
    })
}

/// Reads a status from a column.
pub(super) fn status(row: &Row, column: usize) -> Result<RunStatus, StoreError> {
    let name: String = row.get(column).doing("read a status")?;
    RunStatus::named(&name)
        .ok_or(rusqlite::Error::InvalidColumnType(column, name, rusqlite::types::Type::Text))
        .doing("read a status")
}

/// Reads a document that may not be there yet.
pub(super) fn json<T: DeserializeOwned>(
    run: &str,
    text: Option<String>,
) -> Result<Option<T>, StoreError> {
    let Some(text) = text else { return Ok(None) };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|source| StoreError::Record { run: run.to_owned(), source })
}

/// Reads how a run ended.
pub(super) fn exit(run: &str, text: Option<String>) -> Result<Option<ExitRecord>, StoreError> {
    json(run, text)
}

/// Reads a time. One out of range, which nothing here writes, becomes 1970.
pub(super) fn time(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use images::environment::PreparedEnvironment;

    use super::*;
    use crate::api::wire::submission::SubmitRequest;

    #[test]
    fn what_was_written_before_there_were_containers_is_read() {
        let request = r#"{"experiment":"exp","script":"train.py","arguments":[],"target":"local","environment":{"kind":"userManaged","interpreter":"/usr/bin/python3"},"environmentName":"python3","environmentVariables":{},"secrets":{},"tags":{},"properties":{},"snapshotId":"41cf6794ba4200b839c53531555f0f3998df4cbb01a4d5cb0b94e3ca5e23947d","sourceDirectory":"/src","warnings":[]}"#;
        let environment = format!(
            r#"{{"key":"{}","name":"requirements.txt → venv 5e1f20ab","interpreter":"/env/bin/python","pythonVersion":"3.11.7","prefix":"/env","variables":{{"VIRTUAL_ENV":"/env"}},"pathEntries":["/env/bin"],"reused":true}}"#,
            "5e1f20ab".repeat(8)
        );
        let ended = r#"{"version":1,"reason":"completed","code":0,"signal":null,"message":"the script completed","startedTimeUtc":"2026-11-21T10:00:00Z","endedTimeUtc":"2026-11-21T10:00:01Z","cancelledBy":null,"logBytes":3,"logBytesDropped":0,"leftoverProcesses":0,"cpuSeconds":0.5,"peakMemoryBytes":1024}"#;

        let request: SubmitRequest = json("r", Some(request.to_owned())).unwrap().unwrap();
        let environment: PreparedEnvironment = json("r", Some(environment)).unwrap().unwrap();
        let ended = exit("r", Some(ended.to_owned())).unwrap().unwrap();

        assert!(request.container.is_none() && !request.fresh_environment);
        assert_eq!(request.resources, runner::run_configuration::Resources::default());
        assert!(environment.image.is_none() && environment.lock.is_empty() && environment.reused);
        assert_eq!((ended.code, ended.peak_memory_bytes), (Some(0), Some(1024)));
    }
}
