//! The agent process: one per state directory, from its lock to its last reply.

mod start;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use images::builder::BuildSettings;
use images::cache::EnvironmentCache;
use jiff::Timestamp;
use runner::container::ContainerPolicy;
use runner::run_id::RunId;
use tokio::sync::RwLock;
use tracing::{error, info};

pub(crate) use start::run;

use crate::disk::governor::Governor;
use crate::disk::shortage::DiskPolicy;
use crate::drain::Drain;
use crate::gpus::GpuBook;
use crate::listen::{Entrance, ListenPolicy};
use crate::objects::Objects;
use crate::peer::ADMINISTRATORS;
use crate::queue::Capacity;
use crate::quota::{QuotaPolicy, Uploads};
use crate::run::errands::Errands;
use crate::run::live::LiveRuns;
use crate::run::sandbox_offer::MachineSandbox;
use crate::run::sandboxing::SandboxRules;
use crate::run::status::RunStatus;
use crate::scheduler::Scheduler;
use crate::service::Stop;
use crate::statistics::Statistics;
use crate::store::{Change, Store, StoreError};
use crate::targets::Targets;
use crate::upkeep::UpkeepPolicy;
use crate::workspace::Workspace;

/// What the agent is told when it starts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// How many runs may be on at once. Default: two per core.
    pub(crate) max_runs: Option<NonZeroUsize>,
    /// Write `ready` and a newline to stdout once the socket answers, then let go of stdout and
    /// stderr: what whoever starts an agent waits for.
    pub(crate) announce: bool,
    /// Log to stderr too.
    pub(crate) verbose: bool,
    /// What the configuration says of builds and containers.
    pub(crate) policies: Policies,
    /// Where to answer over TCP.
    pub(crate) listen: Option<ListenPolicy>,
    /// The machine's file says where the service listens, which this agent is not.
    pub(crate) service_listens: bool,
}

/// What the administrator lets builds, containers and attached machines have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policies {
    /// What builds may have of this machine.
    pub(crate) build: BuildSettings,
    /// What containers may have beyond the default.
    pub(crate) container: ContainerPolicy,
    /// What stays on attached machines.
    pub(crate) upkeep: UpkeepPolicy,
    /// What the agent may take of the disk.
    pub(crate) disk: DiskPolicy,
    /// Who rules, and what users may have.
    pub(crate) users: UserPolicy,
    /// How runs outside of containers are kept to what they are given.
    pub(crate) sandbox: SandboxRules,
    /// Whether runs are given only those GPUs that nobody else uses.
    pub(crate) only_free_gpus: bool,
}

/// Who rules an agent, and what its users may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserPolicy {
    /// The group whose members rule it as its own user does.
    pub(crate) admin_group: String,
    /// What each of the others may have.
    pub(crate) quota: QuotaPolicy,
}

impl Default for UserPolicy {
    fn default() -> Self {
        Self { admin_group: ADMINISTRATORS.to_owned(), quota: QuotaPolicy::default() }
    }
}

/// What the parts of an agent share. Nothing in it is lost with the process: the records and the
/// run directories hold the truth.
pub(crate) struct Agent {
    /// Where its state is.
    pub(crate) workspace: Workspace,
    /// Its records.
    pub(crate) store: Store,
    /// Its objects, and those of its users.
    pub(crate) objects: Arc<Objects>,
    /// The environments it has built.
    pub(crate) environments: EnvironmentCache,
    /// How many bytes environments may take before some go.
    pub(crate) most_environment_bytes: Option<u64>,
    /// What containers may have.
    pub(crate) container_policy: ContainerPolicy,
    /// How runs outside of containers are kept to what they are given.
    pub(crate) sandbox: SandboxRules,
    /// How much of a sandbox its machine makes.
    pub(crate) machine_sandbox: Arc<MachineSandbox>,
    /// What stays on attached machines.
    pub(crate) upkeep: UpkeepPolicy,
    /// Who rules, and what users may have.
    pub(crate) users: UserPolicy,
    /// Whose upload it is.
    pub(crate) uploads: Uploads,
    /// Where runs are carried out.
    pub(crate) targets: Targets,
    /// Where the runs that are not over stand.
    pub(crate) live: LiveRuns,
    /// The lists of packages that are on their way.
    pub(crate) packages: Errands,
    /// The ends and attempts whose targets are still to forget them.
    pub(crate) releases: Errands,
    /// Which GPU is whose.
    pub(crate) gpus: GpuBook,
    /// Who gives places.
    pub(crate) scheduler: Scheduler,
    /// Whether runs that wait are started.
    pub(crate) drain: Drain,
    /// Whether there is room for runs.
    pub(crate) disk: Governor,
    /// What has happened since it started.
    pub(crate) statistics: Statistics,
    /// Held shared while a run is accepted and alone while objects are freed or a target goes, so
    /// that what a new run needs does not.
    pub(crate) collecting: RwLock<()>,
    /// Tells everyone to stop.
    pub(crate) stop: Stop,
    /// What this machine has for runs.
    pub(crate) capacity_here: Capacity,
    /// When it started.
    pub(crate) started: Timestamp,
    /// This boot of the machine.
    pub(crate) boot_id: String,
    /// How it is reached over TCP, once that is so.
    pub(crate) listening: OnceLock<Entrance>,
}

/// What an agent is made of, less what it makes itself.
pub(crate) struct Parts {
    /// Where its state is.
    pub(crate) workspace: Workspace,
    /// The program that supervises runs: `PROGRAM supervise DIR`.
    pub(crate) program: PathBuf,
    /// What this machine has for runs.
    pub(crate) capacity: Capacity,
    /// What builds and containers may have.
    pub(crate) policies: Policies,
}

impl Agent {
    /// Returns what the target called `name` has for runs.
    pub(crate) fn capacity(&self, name: &str) -> Capacity {
        let capacity = self.targets.capacity(name, &self.capacity_here);
        let others = self.gpus.of_others(name).len();
        Capacity {
            gpus: self.gpus.count(name).or(capacity.gpus),
            others_gpus: u32::try_from(others).unwrap_or(u32::MAX),
            ..capacity
        }
    }

    /// Records that something happened to `run`, and tells those who watch it. While the records
    /// cannot be written, as on a full disk, it tries again: a run is never ended for that.
    ///
    /// # Errors
    ///
    /// It cannot happen now, there is no such run, or the agent is stopping.
    pub(crate) async fn record(
        &self,
        run: &RunId,
        change: Change,
    ) -> Result<RunStatus, StoreError> {
        let mut pause = Duration::from_millis(200);
        loop {
            match self.record_once(run, change.clone()).await {
                Err(error @ StoreError::Statement { .. }) => {
                    error!(%error, "Could not record what happened to a run; trying again.");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(10));
                }
                answer => return answer,
            }
        }
    }

    /// Records that something happened to `run`, and tells those who watch it.
    ///
    /// # Errors
    ///
    /// It cannot happen now, there is no such run, or the records cannot be written.
    pub(crate) async fn record_once(
        &self,
        run: &RunId,
        change: Change,
    ) -> Result<RunStatus, StoreError> {
        let event = change.event.name();
        let ended = change.facts.exit.as_ref().map(|exit| exit.reason);
        let status = self.store.apply(run, change).await?;
        info!(event, %status, "Run moved on.");
        if let Some(reason) = ended.filter(|_| status.is_ended()) {
            self.statistics.ended(reason);
            self.disk.runs_changed.notify_one();
        }
        self.live.publish(run, status);
        Ok(status)
    }
}
