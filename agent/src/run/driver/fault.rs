//! A fault of ours while a run was driven: the run ends all the same, and says so.

use std::sync::Arc;

use jiff::Timestamp;
use runner::cancel_request::{CancelRequest, CancelledBy};
use runner::compute_target::SupervisorState;
use runner::exit_record::{ExitReason, ExitRecord};
use tracing::error;

use super::ending::conclude;
use super::{Context, NeverStarted, following};
use crate::run::status::{Ending, RunEvent};
use crate::store::{Change, Facts, StoreError};
use crate::task;

/// Ends the run whose driver panicked and said `words`. A script that is on is asked to end
/// first, since nobody would follow it.
///
/// # Errors
///
/// The records cannot be read or the agent stops.
pub(super) async fn end(context: Context, words: &str) -> Result<(), StoreError> {
    error!(words, "A fault in the agent: ending the run it was at.");
    let message = format!("a fault in the agent: {words}");
    let exit = ExitRecord::new(ExitReason::AgentFault, message, Timestamp::now());
    let (target, directory) = (Arc::clone(&context.target), context.directory.clone());
    let by = CancelledBy { uid: rustix::process::geteuid().as_raw(), user: None };
    let request = CancelRequest::new(by, Timestamp::now(), false);
    let started = task::blocking(move || match target.probe(&directory)? {
        SupervisorState::NotStarted => Ok(false),
        SupervisorState::Running(_) => target.cancel(&directory, &request).map(|()| true),
        SupervisorState::Ended(_) | SupervisorState::Lost(_) => Ok(true),
    });
    // What cannot be asked was not started, or is found by the agent's next start.
    if !started.await.unwrap_or_else(|error: runner::compute_target::TargetError| {
        error!(%error, "Could not ask whether the script was started.");
        false
    }) {
        return Box::new(NeverStarted { context, exit }).finish().await;
    }
    let over = following::wait(&context).await;
    let exit = ExitRecord { reason: exit.reason, message: exit.message, ..over.clone() };
    let facts = Facts { started: over.started_time_utc, ..Facts::default() };
    let ended = Change::now(RunEvent::ScriptEnded).with(facts.clone());
    unless_denied(context.agent.record(&context.row.id, ended).await.map(drop))?;
    let facts = Facts { exit: Some(exit), ..facts };
    let collected = Change::now(RunEvent::Collected(Ending::Badly)).with(facts);
    unless_denied(conclude(&context, collected).await)
}

/// Takes it that the fault came later than what is denied.
fn unless_denied(recorded: Result<(), StoreError>) -> Result<(), StoreError> {
    match recorded {
        Err(StoreError::Denied(_)) => Ok(()),
        recorded => recorded,
    }
}
