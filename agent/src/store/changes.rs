//! What happens to a run, recorded: the one place where a status changes.

use images::environment::PreparedEnvironment;
use jiff::Timestamp;
use runner::cancel_request::CancelRequest;
use runner::exit_record::ExitRecord;
use runner::outputs::OutputFile;
use runner::run_id::RunId;
use rusqlite::{OptionalExtension, Transaction, params};
use serde::Serialize;
use std::os::unix::ffi::OsStrExt;

use super::again::{self, NextAttempt};
use super::{SqlContext, Store, StoreError};
use crate::run::status::{RunEvent, RunStatus, TransitionDenied};

/// Something that happened to a run, with what became known by it.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// What happened.
    pub(crate) event: RunEvent,
    /// When.
    pub(crate) at: Timestamp,
    /// What became known.
    pub(crate) facts: Facts,
}

/// What became known when something happened to a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// An attempt that is begun.
    pub(crate) attempt: Option<NewAttempt>,
    /// The environment as it was prepared.
    pub(crate) environment: Option<PreparedEnvironment>,
    /// When the script started.
    pub(crate) started: Option<Timestamp>,
    /// Who asked for its end.
    pub(crate) cancel: Option<CancelRequest>,
    /// How it ended: the run, or an attempt that another follows.
    pub(crate) exit: Option<ExitRecord>,
    /// The attempt that follows.
    pub(crate) next: Option<NextAttempt>,
    /// What it left.
    pub(crate) outputs: Vec<OutputFile>,
    /// What the user should know.
    pub(crate) warnings: Vec<String>,
}

/// An attempt at a run, as it is begun.
#[derive(Clone, Debug)]
pub(crate) struct NewAttempt {
    /// Why it is made.
    pub(crate) reason: String,
    /// The machine's boot it is begun in.
    pub(crate) boot_id: String,
}

impl Change {
    /// Says that `event` happened just now and nothing became known.
    pub(crate) fn now(event: RunEvent) -> Self {
        Self { event, at: Timestamp::now(), facts: Facts::default() }
    }

    /// Adds what became known.
    pub(crate) fn with(self, facts: Facts) -> Self {
        Self { facts, ..self }
    }
}

impl Store {
    /// Records `change`, if it can happen to `run` now, and returns the status that follows.
    ///
    /// # Errors
    ///
    /// [`StoreError::Denied`]: it cannot, and nothing was changed.
    pub(crate) async fn apply(&self, run: &RunId, change: Change) -> Result<RunStatus, StoreError> {
        let run = run.clone();
        self.writer.write(move |transaction| apply(transaction, &run, &change)).await
    }

    /// Records what `pip freeze` said of a run's Python.
    pub(crate) async fn set_packages(
        &self,
        run: &RunId,
        packages: Vec<String>,
    ) -> Result<(), StoreError> {
        let run = run.clone();
        self.writer
            .write(move |transaction| {
                let packages = to_json(&run, &packages)?;
                transaction
                    .prepare_cached("update runs set packages = ?2 where id = ?1")
                    .and_then(|mut update| update.execute(params![run.as_str(), packages]))
                    .doing("write the packages of a run")?;
                Ok(())
            })
            .await
    }
}

fn apply(transaction: &Transaction, run: &RunId, change: &Change) -> Result<RunStatus, StoreError> {
    let (number, status) = find(transaction, run)?;
    let next = status.after(change.event)?;
    if change.event == RunEvent::TriedAgain && again::is_unwanted(transaction, number)? {
        return Err(TransitionDenied::OutOfOrder { status, event: change.event.name() }.into());
    }
    let facts = &change.facts;
    let at = change.at.as_microsecond();
    let environment = facts.environment.as_ref().map(|it| to_json(run, it)).transpose()?;
    let cancel = facts.cancel.as_ref().map(|it| to_json(run, it)).transpose()?;
    let exit = facts.exit.as_ref().map(|it| to_json(run, it)).transpose()?;
    let mut update = transaction
        .prepare_cached(
            "update runs set
                 status = ?2,
                 environment = coalesce(?3, environment),
                 started_at = coalesce(?4, started_at),
                 cancel = coalesce(?5, cancel),
                 exit = coalesce(?6, exit),
                 ended_at = ?7
             where number = ?1",
        )
        .doing("change a run")?;
    update
        .execute(params![
            number,
            next.name(),
            environment,
            facts.started.map(Timestamp::as_microsecond),
            cancel,
            exit.as_ref().filter(|_| next.is_ended()),
            next.is_ended().then_some(at),
        ])
        .doing("change a run")?;
    if let Some(attempt) = &facts.attempt {
        begin_attempt(transaction, number, attempt, at)?;
    }
    if next.is_ended() || next == RunStatus::Queued {
        end_attempt(transaction, number, at, exit.as_deref())?;
    }
    match facts.next {
        Some(next) => again::begin(transaction, number, next, &facts.outputs)?,
        None => add_outputs(transaction, number, &facts.outputs)?,
    }
    add_warnings(transaction, number, &facts.warnings)?;
    Ok(next)
}

fn find(transaction: &Transaction, run: &RunId) -> Result<(i64, RunStatus), StoreError> {
    let action = "look up a run";
    let mut statement = transaction
        .prepare_cached("select number, status from runs where id = ?1")
        .doing(action)?;
    statement
        .query_row([run.as_str()], |row| Ok((row.get(0)?, super::row::status(row, 1))))
        .optional()
        .doing(action)?
        .ok_or_else(|| StoreError::NoSuchRun { reference: run.to_string() })
        .and_then(|(number, status)| Ok((number, status?)))
}

fn begin_attempt(
    transaction: &Transaction,
    run: i64,
    attempt: &NewAttempt,
    at: i64,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "insert into attempts (run, number, reason, boot_id, begun_at, attempt)
             select ?1, 1 + count(*), ?2, ?3, ?4, (select attempt from runs where number = ?1)
             from attempts where run = ?1",
        )
        .and_then(|mut insert| insert.execute(params![run, attempt.reason, attempt.boot_id, at]))
        .doing("begin an attempt")?;
    Ok(())
}

fn end_attempt(
    transaction: &Transaction,
    run: i64,
    at: i64,
    exit: Option<&str>,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "update attempts set ended_at = ?2, exit = ?3 where run = ?1 and ended_at is null",
        )
        .and_then(|mut update| update.execute(params![run, at, exit]))
        .doing("end an attempt")?;
    Ok(())
}

fn add_outputs(
    transaction: &Transaction,
    run: i64,
    outputs: &[OutputFile],
) -> Result<(), StoreError> {
    let action = "write what a run left";
    let mut insert = transaction
        .prepare_cached(
            "insert or replace into outputs (run, path, size, sha256) values (?1, ?2, ?3, ?4)",
        )
        .doing(action)?;
    for file in outputs {
        let size = i64::try_from(file.size).unwrap_or(i64::MAX);
        let path = file.path.as_os_str().as_bytes();
        insert.execute(params![run, path, size, file.sha256.to_string()]).doing(action)?;
    }
    Ok(())
}

/// Adds warnings after those that are there.
pub(super) fn add_warnings(
    transaction: &Transaction,
    run: i64,
    warnings: &[String],
) -> Result<(), StoreError> {
    let action = "write a warning";
    let mut insert = transaction
        .prepare_cached(
            "insert into warnings (run, number, text)
             select ?1, 1 + count(*), ?2 from warnings where run = ?1
             having total(text = ?2) = 0",
        )
        .doing(action)?;
    for warning in warnings {
        insert.execute(params![run, warning]).doing(action)?;
    }
    Ok(())
}

fn to_json<T: Serialize + ?Sized>(run: &RunId, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|source| StoreError::Record { run: run.to_string(), source })
}
