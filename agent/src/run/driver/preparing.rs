//! Preparing: the source is laid out and the environment made ready, where the run is to be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use images::environment::Environment;
use runner::compute_target::{Needs, NotPrepared, Ready};
use runner::exit_record::ExitReason;
use runner::source::SourceError;
use tracing::debug_span;

use super::starting::Prepared;
use super::{Context, Stopped, again};
use crate::api::wire::submission::SubmitRequest;
use crate::run::status::RunEvent;
use crate::store::{Change, Facts, NewAttempt, StoreError};
use crate::task;

/// A run that has a place and nothing else.
pub(super) struct Admitted {
    context: Context,
    /// Why it is prepared once more, where that is known.
    reason: Option<&'static str>,
}

impl Admitted {
    pub(super) fn new(context: Context) -> Self {
        Self { context, reason: None }
    }

    /// Takes back a run that was to be started when its machine was restarted: what was prepared
    /// is gone. Its place stays its own.
    pub(super) async fn again(context: Context) -> Result<Self, StoreError> {
        match context.agent.record(&context.row.id, Change::now(RunEvent::PlaceTakenBack)).await {
            // Denied: it was asked to end meanwhile, which shows when it is given its place.
            Ok(_) | Err(StoreError::Denied(_)) => {
                Ok(Self { context, reason: Some("host_rebooted") })
            }
            Err(error) => Err(error),
        }
    }

    /// Lays the source out and prepares the environment. A cancel ends the build of the latter.
    pub(super) async fn prepare(self) -> Result<Prepared, Stopped> {
        let mut context = self.context;
        let row = &context.row;
        let reason = match (self.reason, &row.boot_id) {
            (Some(reason), _) => reason,
            (None, None) => row.tried_after.as_deref().unwrap_or("submitted"),
            (None, Some(boot)) if *boot != context.agent.boot_id => "host_rebooted",
            (None, Some(_)) => "agent_restarted",
        };
        let reason = reason.to_owned();
        let attempt = NewAttempt { reason, boot_id: context.agent.boot_id.clone() };
        let facts = Facts { attempt: Some(attempt), ..Facts::default() };
        let change = Change::now(RunEvent::PlaceGiven).with(facts);
        let placed = change.at;
        match context.agent.record(&context.row.id, change).await {
            Ok(_) if context.row.boot_id.is_none() && context.row.attempt == 1 => {
                context.agent.statistics.waited(context.row.created, placed);
            }
            // It had a place before.
            Ok(_) => {}
            // It was cancelled between leaving the queue and this.
            Err(StoreError::Denied(_)) => return Err(Stopped::cancelled(context)),
            Err(error) => return Err(error.into()),
        }
        if let Err(error) = again::make_room(&mut context).await {
            return Err(Stopped::never(context, ExitReason::AgentFault, &error));
        }
        if context.is_cancelled() {
            return Err(Stopped::cancelled(context));
        }
        let begun = Instant::now();
        let prepared = prepare(&mut context).await;
        match &prepared {
            Ok(ready) => {
                context.agent.statistics.prepared(begun.elapsed(), ready.environment.reused);
            }
            Err(error) if error.reason() == ExitReason::EnvironmentFailed => {
                context.agent.statistics.environment_failed();
            }
            Err(_) => {}
        }
        if context.is_cancelled() {
            return Err(Stopped::cancelled(context));
        }
        match prepared {
            Ok(Ready { environment, warnings, lease }) => {
                Ok(Prepared::new(context, environment, lease, warnings))
            }
            Err(error) => {
                let hint = password_hint(&context.row.request, &error).or_else(|| error.hint());
                Err(Stopped::advised(context, error.reason(), &error, hint))
            }
        }
    }
}

/// Says what a run needs that runs another one again, whose password for a registry was not kept.
fn password_hint(request: &SubmitRequest, error: &NotPrepared) -> Option<String> {
    let Environment::Docker { docker } = &request.environment else { return None };
    let NotPrepared::Environment(error) = error else { return None };
    let registry = docker.registry.as_ref().filter(|_| error.is_denied())?;
    let again = request.rerun_of.as_ref()?;
    Some(format!(
        "the password of {} at {} was not kept: give it again, \
         `trainyard rerun {again} --registry-password-stdin < FILE`, or `docker login {}` as the \
         user whose agent this is",
        registry.username, registry.address, registry.address
    ))
}

async fn prepare(context: &mut Context) -> Result<Ready, NotPrepared> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let request = &context.row.request;
    let needs = Needs {
        snapshot: request.snapshot_id,
        environment: request.environment.clone(),
        fresh: request.fresh_environment,
    };
    let (target, directory) = (Arc::clone(&context.target), context.directory.clone());
    let stop = Arc::clone(&cancelled);
    let (objects, store) = (Arc::clone(&context.agent.objects), context.row.store);
    let preparing = task::blocking(move || {
        let _span = debug_span!("prepare").entered();
        let objects = objects.get_now(store).map_err(SourceError::from)?;
        target.prepare(&directory, &needs, &objects, &stop)
    });
    tokio::pin!(preparing);
    loop {
        tokio::select! {
            ready = &mut preparing => return ready,
            changed = context.cancel.changed(), if !cancelled.load(Ordering::Relaxed) => {
                // Whoever could ask is gone only when the agent stops; then nobody asks.
                cancelled.store(changed.is_ok(), Ordering::Relaxed);
                if changed.is_err() {
                    return preparing.await;
                }
            }
        }
    }
}
