//! Starting: the intent is on the disk before the supervisor is started.

use std::sync::Arc;
use std::time::Duration;

use images::cache::EnvironmentLease;
use images::environment::PreparedEnvironment;
use runner::compute_target::{Place, TargetError};
use runner::exit_record::ExitReason;
use runner::gpu;
use runner::run_directory::RunDirectory;
use runner::supervisor::events;
use tracing::{debug, warn};

use super::following::Started;
use super::preparing::Admitted;
use super::{Context, Stopped};
use crate::peer::Peer;
use crate::run::launching::{self, Contained, NoContainer};
use crate::run::status::RunEvent;
use crate::run::workplace;
use crate::store::{Change, Facts, StoreError};
use crate::task;

/// How long until a place that is out of reach is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// A run that has all it needs to be started.
pub(super) struct Prepared {
    context: Context,
    lease: Option<EnvironmentLease>,
    /// What to write down first. `None` when an earlier agent has.
    intent: Option<Intent>,
}

struct Intent {
    environment: PreparedEnvironment,
    warnings: Vec<String>,
}

/// What came of starting a run.
pub(super) enum Launched {
    /// Its supervisor has it.
    Started(Started),
    /// It has to be prepared again.
    NotPrepared(Admitted),
}

impl Prepared {
    pub(super) fn new(
        context: Context,
        environment: PreparedEnvironment,
        lease: Option<EnvironmentLease>,
        warnings: Vec<String>,
    ) -> Self {
        Self { context, lease, intent: Some(Intent { environment, warnings }) }
    }

    /// Takes up a run whose start was written down by an agent that then went away.
    pub(super) async fn again(context: Context) -> Result<Self, Stopped> {
        let lease = super::following::lease(&context).await;
        Ok(Self { context, lease, intent: None })
    }

    /// Starts the supervisor. It is the supervisor that sees to it that a run starts once, so
    /// that this may be done again after the agent was away.
    pub(super) async fn start(self) -> Result<Launched, Stopped> {
        let Self { mut context, lease, intent } = self;
        if let Some(Intent { environment, mut warnings }) = intent {
            let There { place, contained, gpus } = match there(&context, &environment).await {
                Ok(Some(there)) => there,
                Ok(None) => return Err(Stopped::Back(Box::new(context))),
                Err(error) => {
                    let hint = error.hint();
                    return Err(Stopped::advised(context, ExitReason::CannotStart, &error, hint));
                }
            };
            warnings.extend(contained.iter().flat_map(|it| it.plan.notes.clone()));
            let peer = submitter(&context).await;
            let launch = launching::launch(
                (&context.row, peer, &context.agent.sandbox),
                &place,
                &environment,
                contained,
                gpus,
            );
            let (directory, row) = (context.directory.clone(), context.row.clone());
            let written =
                task::blocking(move || workplace::write_launch(&directory, &row, &launch)).await;
            if let Err(error) = written {
                return Err(Stopped::never(context, ExitReason::AgentFault, &error));
            }
            context.row.environment = Some(environment.clone());
            let facts = Facts { environment: Some(environment), warnings, ..Facts::default() };
            let change = Change::now(RunEvent::LaunchIntended).with(facts);
            match context.agent.record(&context.row.id, change).await {
                Ok(_) => {}
                Err(StoreError::Denied(_)) => return Err(Stopped::cancelled(context)),
                Err(error) => return Err(error.into()),
            }
        }
        let (target, directory) = (Arc::clone(&context.target), context.directory.clone());
        let begun = std::time::Instant::now();
        let started = loop {
            let (target, directory) = (Arc::clone(&target), directory.clone());
            match task::blocking(move || target.start(&directory)).await {
                Err(TargetError::OutOfContact { .. }) if !context.is_cancelled() => {
                    tokio::time::sleep(AGAIN).await;
                }
                answer => break answer,
            }
        };
        debug!(elapsed_us = begun.elapsed().as_micros(), "Started the supervisor.");
        match started {
            Ok(_) => {}
            Err(TargetError::AlreadyStarted { .. }) => {
                warn!("The run had a supervisor already; following that one.");
            }
            Err(error @ TargetError::OutOfContact { .. }) => {
                // Nobody knows whether it was started. Following hands the request to end on, and
                // hears what came of both.
                warn!(%error, "Asked to end before it is known whether the script was started.");
            }
            Err(error @ TargetError::NotPrepared { .. }) if !context.is_cancelled() => {
                warn!(%error, "Preparing the run again.");
                return Ok(Launched::NotPrepared(Admitted::again(context).await?));
            }
            Err(error) if context.is_cancelled() => {
                debug!(%error, "The supervisor was not started, and need not be.");
                return Err(Stopped::cancelled(context));
            }
            Err(error) => {
                return Err(Stopped::never(context, ExitReason::CannotStart, &error));
            }
        }
        match context.agent.record(&context.row.id, script_started(&context.directory)).await {
            // Denied: an earlier agent recorded it, or it is over; following shows.
            Ok(_) | Err(StoreError::Denied(_)) => {
                Ok(Launched::Started(Started::new(context, lease)))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns who handed the run in, as of now.
async fn submitter(context: &Context) -> Peer {
    let (agent, uid) = (Arc::clone(&context.agent), context.row.uid);
    let owner = rustix::process::geteuid().as_raw();
    task::blocking(move || Peer::of(uid, owner, &agent.users.admin_group)).await
}

/// What a run finds where it is carried out.
struct There {
    place: Place,
    /// Its container, where its environment is an image.
    contained: Option<Contained>,
    /// The UUIDs of the GPUs that are its alone.
    gpus: Vec<String>,
}

/// Asks what a run finds where it is carried out. A place that is out of reach is asked again.
/// `None`: other runs have the GPUs that it needs.
async fn there(
    context: &Context,
    environment: &PreparedEnvironment,
) -> Result<Option<There>, NoContainer> {
    loop {
        let (agent, target) = (Arc::clone(&context.agent), Arc::clone(&context.target));
        let (run, request) = (context.row.id.clone(), context.row.request.clone());
        let image = environment.image.clone();
        let asked = task::blocking(move || {
            let place = target.place()?;
            let contained =
                image.map(|image| Contained::new(&request, image, &agent.container_policy, &place));
            let contained = contained.transpose()?;
            let of_process = request.resources.gpus.unwrap_or(0);
            let wanted = contained.as_ref().map_or(of_process, |contained| contained.plan.gpus);
            if wanted == 0 {
                return Ok(Some(There { place, contained, gpus: Vec::new() }));
            }
            // First, so that too few in all are an error.
            target.gpus(wanted)?;
            let all = target.gpus(gpu::ALL)?;
            let users = match agent.gpus.only_free {
                true => target.gpu_users()?,
                false => Vec::new(),
            };
            let gpus = agent.gpus.give(&run, &request.target, wanted, (all, users));
            Ok(gpus.map(|gpus| There { place, contained, gpus }))
        });
        match asked.await {
            Err(NoContainer::Target(TargetError::OutOfContact { .. }))
                if !context.is_cancelled() =>
            {
                tokio::time::sleep(AGAIN).await;
            }
            answer => return answer,
        }
    }
}

/// The change to Running. The supervisor knows the moment; where it has not said so yet, now is
/// as good until it does, which is at the end at the latest.
pub(super) fn script_started(directory: &RunDirectory) -> Change {
    let events = events::read(directory).unwrap_or_default();
    let said = events.iter().find(|line| line.event.is_start());
    let change = Change::now(RunEvent::ScriptStarted);
    let started = Some(said.map_or(change.at, |line| line.time_utc));
    change.with(Facts { started, ..Facts::default() })
}
