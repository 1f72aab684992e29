//! Following: metrics are picked up and requests to end are handed on, until it is over.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use images::cache::EnvironmentLease;
use jiff::Timestamp;
use runner::cancel_request::CancelRequest;
use runner::compute_target::{SupervisorState, TargetError};
use runner::exit_record::{ExitReason, ExitRecord};
use tokio::sync::watch;
use tracing::{error, info_span, warn};

use super::Context;
use super::ending::Over;
use super::starting::script_started;
use crate::metrics::Collector;
use crate::run::status::RunStatus;
use crate::store::StoreError;
use crate::task::{self, Task};

/// How long one wait for the supervisor's end lasts. A thread is held meanwhile, and this is the
/// longest it outlives an agent that stops.
const WAIT: Duration = Duration::from_secs(2);

/// How often metrics are picked up while the run is on.
const METRICS_EVERY: Duration = Duration::from_secs(1);

/// A run whose supervisor was started.
pub(super) struct Started {
    context: Context,
    _lease: Option<EnvironmentLease>,
}

/// Keeps the environment of a run that an earlier agent started: the very build, whatever was built
/// in its place meanwhile. Without it the run goes on; it is in use all the same.
pub(super) async fn lease(context: &Context) -> Option<EnvironmentLease> {
    let environment = context.row.environment.clone()?;
    let target = Arc::clone(&context.target);
    match task::blocking(move || target.lease(&environment)).await {
        Ok(lease) => lease,
        Err(error) => {
            warn!(%error, "Could not keep the environment of a run.");
            None
        }
    }
}

impl Started {
    pub(super) fn new(context: Context, lease: Option<EnvironmentLease>) -> Self {
        Self { context, _lease: lease }
    }

    /// Takes up a run that an earlier agent started, and perhaps did not see start.
    pub(super) async fn again(context: Context) -> Result<Self, StoreError> {
        if context.row.status == RunStatus::Starting {
            let change = script_started(&context.directory);
            context.agent.record(&context.row.id, change).await?;
        }
        let lease = lease(&context).await;
        Ok(Self { context, _lease: lease })
    }

    /// Waits for the run's end, whatever it is.
    pub(super) async fn follow(self) -> Result<Over, StoreError> {
        let mut metrics =
            Collector::resume(&self.context.agent, &self.context.row.id, &self.context.directory)
                .await?;
        let packages = packages(&self.context);
        let mut ticks = tokio::time::interval(METRICS_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let waiting = wait(&self.context);
        // Beside the wait, not in its way: a request that cannot be handed on, as on a full disk,
        // must not hide the end.
        let handing = hand_on_all(self.context.cancel.clone(), &self.context);
        let exit = until_over(waiting, handing, &mut ticks, &mut metrics).await;
        Ok(Over::new(self.context, exit, metrics, packages))
    }
}

/// Picks up metrics until the run is over.
async fn until_over(
    waiting: impl Future<Output = ExitRecord>,
    handing: impl Future<Output = Infallible>,
    ticks: &mut tokio::time::Interval,
    metrics: &mut Collector,
) -> ExitRecord {
    let (mut waiting, mut handing) = (pin!(waiting), pin!(handing));
    loop {
        tokio::select! {
            exit = &mut waiting => return exit,
            never = &mut handing => match never {},
            _ = ticks.tick() => metrics.advance().await,
        }
    }
}

/// Hands on every request to end, the one that is there already too.
async fn hand_on_all(
    mut cancel: watch::Receiver<Option<CancelRequest>>,
    context: &Context,
) -> Infallible {
    loop {
        let asked = cancel.borrow_and_update().clone();
        if let Some(request) = asked {
            hand_on(context, request).await;
        }
        if cancel.changed().await.is_err() {
            // Whoever could ask is gone only when the agent stops; then nobody asks.
            std::future::pending::<()>().await;
        }
    }
}

/// Leaves the request to end where the supervisor sees it, however long that takes.
async fn hand_on(context: &Context, request: CancelRequest) {
    loop {
        let (target, directory) = (Arc::clone(&context.target), context.directory.clone());
        let request = request.clone();
        match task::blocking(move || target.cancel(&directory, &request)).await {
            Ok(()) => return,
            Err(error) => error!(%error, "Could not hand on the request to end; trying again."),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Waits until the supervisor is gone and returns why the run is over.
pub(super) fn wait(context: &Context) -> impl Future<Output = ExitRecord> + 'static {
    let (target, directory) = (Arc::clone(&context.target), context.directory.clone());
    async move {
        loop {
            let (waiting, at) = (Arc::clone(&target), directory.clone());
            let state = task::blocking(move || match waiting.wait(&at, WAIT)? {
                SupervisorState::Ended(exit) => Ok(Some(exit)),
                SupervisorState::Running(_) => Ok(None),
                SupervisorState::Lost(_) => waiting.settle(&at).map(Some),
                // It was started, and its directory knows nothing of it.
                SupervisorState::NotStarted if !at.launch_json().exists() => {
                    let message = "the run directory is gone";
                    Ok(Some(ExitRecord::new(ExitReason::AgentFault, message, Timestamp::now())))
                }
                SupervisorState::NotStarted => waiting.settle(&at).map(Some),
            })
            .await;
            match state {
                Ok(Some(exit)) => return exit,
                Ok(None) => {}
                Err(TargetError::StillSupervised { .. }) => {}
                Err(error) => {
                    error!(%error, "Could not ask how the run stands; trying again.");
                    tokio::time::sleep(WAIT).await;
                }
            }
        }
    }
}

/// Asks what is installed in the run's environment, off the way to the script's first line.
fn packages(context: &Context) -> Task<()> {
    let (agent, target) = (Arc::clone(&context.agent), Arc::clone(&context.target));
    let run = context.row.id.clone();
    let environment = context.row.environment.clone();
    let asking = agent.packages.begin(&run);
    task::spawn(info_span!("packages", %run), async move {
        let _asking = asking;
        let Some(environment) = environment else { return };
        let _turn = agent.packages.turn(target.name()).await;
        let packages = task::blocking(move || target.packages(&environment));
        let kept = match packages.await {
            Ok(packages) => agent.store.set_packages(&run, packages.to_vec()).await,
            Err(error) => return warn!(%error, "Could not list the packages of a run's Python."),
        };
        if let Err(error) = kept {
            warn!(%error, "Could not keep the list of packages.");
        }
    })
}
