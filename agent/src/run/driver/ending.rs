//! Ending: what the run left is collected, and how it ended is recorded.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runner::compute_target::TargetError;
use runner::exit_record::{ExitReason, ExitRecord};
use runner::outputs::Outputs;
use runner::run_directory::RunDirectory;
use runner::supervisor::events;
use snapshots::error_chain::chain;
use tracing::{info, info_span, warn};

use super::{Context, NeverStarted};
use crate::metrics::Collector;
use crate::run::retry::{Again, again};
use crate::run::status::{Ending, RunEvent};
use crate::run::workplace;
use crate::store::{Change, Facts, NextAttempt, StoreError};
use crate::task::{self, Task};
use crate::upkeep;

/// How long until a target that is out of reach is asked again.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// A run whose script is over.
pub(super) struct Over {
    context: Context,
    exit: ExitRecord,
    metrics: Collector,
    packages: Task<()>,
}

impl Over {
    pub(super) fn new(
        context: Context,
        exit: ExitRecord,
        metrics: Collector,
        packages: Task<()>,
    ) -> Self {
        Self { context, exit, metrics, packages }
    }

    /// Collects what is left to collect and records the end.
    pub(super) async fn finish(self) -> Result<(), StoreError> {
        let Self { context, exit, mut metrics, packages } = self;
        let agent = Arc::clone(&context.agent);
        let facts = Facts { started: exit.started_time_utc, ..Facts::default() };
        let change = Change::now(RunEvent::ScriptEnded).with(facts);
        match agent.record(&context.row.id, change).await {
            // Denied: an agent before this one got as far, and no farther.
            Ok(_) | Err(StoreError::Denied(_)) => {}
            Err(error) => return Err(error),
        }
        metrics.drain().await;
        let collected = collect(&context).await;
        let mut warnings = said(&context.directory);
        warnings.extend(collected.notes);
        warnings.extend(metrics.note());
        let facts = Facts {
            exit: Some(exit.clone()),
            outputs: collected.files,
            warnings,
            ..Facts::default()
        };
        let event = RunEvent::Collected(ending(exit.reason));
        conclude(&context, Change { event, at: exit.ended_time_utc, facts }).await?;
        // Neither the run's end nor its place waits for the list; who asks for the run does.
        packages.detach();
        release(&context).detach();
        Ok(())
    }
}

impl NeverStarted {
    /// Records the end of a run that had no script.
    pub(super) async fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let Self { context, mut exit } = *self;
        // A request to end that came while something failed wins, as the status shows.
        if context.is_cancelled() && exit.reason != ExitReason::Cancelled {
            exit.reason = ExitReason::Cancelled;
            exit.cancelled_by = context.cancelled_by();
        }
        let facts = Facts { exit: Some(exit), ..Facts::default() };
        match conclude(&context, Change::now(RunEvent::NeverStarted).with(facts)).await {
            Ok(()) => Ok(()),
            Err(StoreError::Denied(_)) => {
                // It was over before it came here: cancelled between its acceptance and its place
                // in the queue. Who watches it must hear so.
                let row = context.agent.store.row(&context.row.id).await?;
                context.agent.live.publish(&row.id, row.status);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Records `end`, unless the run is to be tried again: then it waits, and only its attempt ended.
///
/// # Errors
///
/// As [`Agent::record`](crate::agent::Agent::record).
pub(super) async fn conclude(context: &Context, end: Change) -> Result<(), StoreError> {
    let (agent, row) = (&context.agent, &context.row);
    let exit = end.facts.exit.as_ref().filter(|_| !context.is_cancelled());
    let policy = row.request.retry.as_ref();
    let again = exit.zip(policy).and_then(|(exit, policy)| again(policy, row.attempt, exit));
    if let Some(Again { delay, why }) = again {
        let not_before = Timestamp::now().saturating_add(delay).unwrap_or(Timestamp::MAX);
        let next = Some(NextAttempt { after: why, not_before });
        let facts = Facts { next, ..end.facts.clone() };
        let change = Change { event: RunEvent::TriedAgain, at: end.at, facts };
        match agent.record(&row.id, change).await {
            Ok(_) => {
                agent.statistics.tried_again(why);
                info!(attempt = row.attempt, after = why.name(), "Trying the run again.");
                return Ok(());
            }
            // It was asked to end meanwhile.
            Err(StoreError::Denied(_)) => {}
            Err(error) => return Err(error),
        }
    }
    workplace::forget_secrets(&context.directory);
    agent.record(&row.id, end).await.map(drop)
}

fn ending(reason: ExitReason) -> Ending {
    match reason {
        ExitReason::Completed => Ending::Well,
        ExitReason::Cancelled => Ending::Cancelled,
        _ => Ending::Badly,
    }
}

/// Returns what its supervisor has to say to people.
fn said(directory: &RunDirectory) -> Vec<String> {
    let events = events::read(directory).unwrap_or_default();
    let mut said: Vec<_> = events.iter().filter_map(|line| line.event.warning()).collect();
    // A container that was made twice was warned of twice.
    said.dedup();
    said
}

/// Lets the target forget the run, however long that takes: all of it is at home.
fn release(context: &Context) -> Task<()> {
    let (target, directory) = (Arc::clone(&context.target), context.directory.clone());
    let agent = Arc::clone(&context.agent);
    let errand = agent.releases.begin(&context.row.id);
    task::spawn(info_span!("release", run = %context.row.id), async move {
        loop {
            let (target, directory) = (Arc::clone(&target), directory.clone());
            match task::blocking(move || target.release(&directory)).await {
                Err(TargetError::OutOfContact { .. }) => tokio::time::sleep(AGAIN).await,
                Err(error) => return warn!(%error, "The target keeps what it has of a run."),
                Ok(()) => break,
            }
        }
        drop(errand);
        upkeep::clean_if_due(&agent, target.name()).await;
    })
}

/// Lists what the run left and brings it home. A target that is out of reach is asked again, for
/// as long as it takes.
async fn collect(context: &Context) -> Outputs {
    let root = context.row.request.snapshot_id;
    loop {
        let (target, directory) = (Arc::clone(&context.target), context.directory.clone());
        let objects = match context.agent.objects.get(context.row.store).await {
            Ok(objects) => objects,
            Err(error) => return not_listed(&error),
        };
        match task::blocking(move || target.collect(&directory, &root, &objects)).await {
            Ok(outputs) => return outputs,
            Err(TargetError::OutOfContact { .. }) => tokio::time::sleep(AGAIN).await,
            Err(error) => return not_listed(&error),
        }
    }
}

fn not_listed(error: &(dyn std::error::Error + 'static)) -> Outputs {
    let note = format!("what the run left could not be listed: {}", chain(error));
    Outputs { notes: vec![note], ..Outputs::default() }
}
