//! Accepting runs.

use jiff::Timestamp;
use runner::run_configuration::RetryPolicy;
use runner::run_id::RunId;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use snapshots::digest::Digest;

use super::{RunRow, SqlContext, Store, StoreError};
use crate::api::wire::submission::SubmitRequest;
use crate::objects::StoreOf;
use crate::run::status::{RunEvent, RunStatus};

/// A run that is about to be accepted.
#[derive(Clone, Debug)]
pub(crate) struct NewRun {
    /// Its id.
    pub(crate) id: RunId,
    /// Who hands it in.
    pub(crate) uid: u32,
    /// Where its source is.
    pub(crate) store: StoreOf,
    /// How many runs of theirs may be not over, this one among them.
    pub(crate) max_runs: Option<u64>,
    /// Its name for people.
    pub(crate) display_name: String,
    /// What it runs, for people.
    pub(crate) command_line: String,
    /// What was asked. The values of secrets are not in it.
    pub(crate) request: SubmitRequest,
    /// When.
    pub(crate) created: Timestamp,
    /// The caller's key for this submission, and the digest of what it asked.
    pub(crate) idempotency: Option<(String, Digest)>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Accepted {
    /// The run is in the records, on the disk.
    New(Box<RunRow>),
    /// It had been accepted before, under the same key.
    Before {
        /// The run it became then.
        id: RunId,
        /// Its name for people.
        display_name: String,
    },
}

impl Store {
    /// Accepts a run: it is queued, and on the disk, when this returns.
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyReused`]: the key stands for another submission. [`StoreError::TooMany`]:
    /// the user has as many runs as they may. Nothing was accepted.
    pub(crate) async fn submit(&self, run: NewRun) -> Result<Accepted, StoreError> {
        self.writer.write(move |transaction| submit(transaction, &run)).await
    }

    /// Returns id and name of what `uid` handed in before under the same key, if there is a key.
    /// Writes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyReused`]: the key stands for another submission.
    pub(crate) async fn accepted_before(
        &self,
        uid: u32,
        idempotency: &Option<(String, Digest)>,
    ) -> Result<Option<(RunId, String)>, StoreError> {
        let Some((key, request)) = idempotency.clone() else { return Ok(None) };
        self.readers.read(move |connection| accepted_before(connection, uid, &key, &request)).await
    }
}

fn submit(transaction: &Transaction, run: &NewRun) -> Result<Accepted, StoreError> {
    if let Some((key, request)) = &run.idempotency
        && let Some((id, display_name)) = accepted_before(transaction, run.uid, key, request)?
    {
        return Ok(Accepted::Before { id, display_name });
    }
    if let Some(limit) = run.max_runs {
        check_runs(transaction, run.uid, limit)?;
    }
    let number = insert(transaction, run)?;
    let insert_pair = |sql, key: &str, value: &str| {
        transaction
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params![number, key, value]))
            .doing("write what a run is labelled with")
    };
    for (key, value) in &run.request.tags {
        insert_pair("insert into tags (run, key, value) values (?1, ?2, ?3)", key, value)?;
    }
    for (key, value) in &run.request.properties {
        insert_pair("insert into properties (run, key, value) values (?1, ?2, ?3)", key, value)?;
    }
    if let Some((key, request)) = &run.idempotency {
        transaction
            .prepare_cached(
                "insert into idempotency_keys (uid, key, request, run) values (?1, ?2, ?3, ?4)",
            )
            .and_then(|mut insert| {
                insert.execute(params![run.uid, key, request.to_string(), number])
            })
            .doing("keep an idempotency key")?;
    }
    super::changes::add_warnings(transaction, number, &run.request.warnings)?;
    Ok(Accepted::New(Box::new(super::row::row(transaction, run.id.as_str())?)))
}

/// Checks, in the transaction that adds a run, that its user may have one more.
fn check_runs(transaction: &Transaction, uid: u32, limit: u64) -> Result<(), StoreError> {
    match super::statistics::unfinished_of(transaction, uid)? {
        used if used < limit => Ok(()),
        used => Err(StoreError::TooMany { used, limit }),
    }
}

fn insert(transaction: &Transaction, run: &NewRun) -> Result<i64, StoreError> {
    let status = RunStatus::NotStarted.after(RunEvent::Submitted)?;
    let record = |source| StoreError::Record { run: run.id.to_string(), source };
    let request = serde_json::to_string(&run.request).map_err(record)?;
    let mut statement = transaction
        .prepare_cached(
            "insert into runs (id, uid, experiment, display_name, target, status, environment_name,
                               command_line, snapshot_id, created_at, request, priority, held,
                               most_attempts, store)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )
        .doing("write a run")?;
    statement
        .insert(params![
            run.id.as_str(),
            run.uid,
            run.request.experiment,
            run.display_name,
            run.request.target,
            status.name(),
            run.request.environment_name,
            run.command_line,
            run.request.snapshot_id.to_string(),
            run.created.as_microsecond(),
            request,
            run.request.priority,
            run.request.held,
            run.request.retry.as_ref().map_or(1, RetryPolicy::attempts),
            run.store.uid(),
        ])
        .doing("write a run")
}

fn accepted_before(
    connection: &Connection,
    uid: u32,
    key: &str,
    request: &Digest,
) -> Result<Option<(RunId, String)>, StoreError> {
    let found: Option<(String, String, String)> = connection
        .prepare_cached(
            "select idempotency_keys.request, id, display_name from idempotency_keys
             join runs on runs.number = idempotency_keys.run
             where idempotency_keys.uid = ?1 and key = ?2",
        )
        .and_then(|mut statement| {
            statement
                .query_row(params![uid, key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()
        })
        .doing("look up an idempotency key")?;
    let Some((asked, id, display_name)) = found else { return Ok(None) };
    if asked != request.to_string() {
        return Err(StoreError::KeyReused { key: key.to_owned(), run: id });
    }
    let id = id.parse().map_err(|_| StoreError::NoSuchRun { reference: id })?;
    Ok(Some((id, display_name)))
}
