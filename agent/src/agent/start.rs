//! Starting and stopping: in which order things come up, and go.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::Context as _;
use images::cache::{CacheOptions, EnvironmentCache};
use jiff::Timestamp;
use runner::compute_target::local::LocalTarget;
use runner::compute_target::ssh::HomeSide;
use runner::compute_target::supervisors::Supervisors;
use runner::process_identity;
use snapshots::store::local::LocalStore;
use tracing::{error, info, info_span, warn};

use super::{Agent, Options, Parts};
use crate::api::server;
use crate::containers;
use crate::queue;
use crate::recovery;
use crate::scheduler::{self, Inbox, Scheduler};
use crate::service;
use crate::store::Store;
use crate::targets::{OverSsh, Targets};
use crate::task;
use crate::upkeep;
use crate::workspace::Workspace;
use crate::workspace::lock::AgentLock;

/// A log of this size is put aside when an agent starts; one older is kept.
const LOG_SIZE: u64 = 16 << 20;

/// What still blocks a thread is left behind after so long: it ends with the process.
const THREADS: Duration = Duration::from_millis(500);

/// Runs the agent of `workspace` until it is told to stop. Runs that are on go on without it.
///
/// # Errors
///
/// The state directory cannot be used, another agent has it, or the records cannot be read.
pub(crate) fn run(workspace: Workspace, options: Options) -> anyhow::Result<()> {
    workspace.create()?;
    let lock = AgentLock::take(&workspace)?;
    log_to(&workspace.log(), options.verbose)?;
    log_panics();
    let cores = available_parallelism().map_or(1, std::num::NonZero::get);
    let limit = options.max_runs.map(std::num::NonZero::get);
    let parts = Parts {
        workspace,
        program: std::env::current_exe().context("cannot find this program")?,
        capacity: queue::of_this_machine(limit, cores),
        policies: options.policies,
    };
    let (agent, inbox) = Agent::open(parts)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(2, 4))
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let answered = runtime.block_on(agent.work(inbox, options.announce));
    runtime.shutdown_timeout(THREADS);
    let (commits, changes) = agent.store.writes();
    info!(commits, changes, "Stopped.");
    drop(lock);
    answered
}

impl Agent {
    /// Opens the records and stores. Nothing runs yet.
    pub(crate) fn open(parts: Parts) -> anyhow::Result<(Arc<Self>, Inbox)> {
        let Parts { workspace, program, capacity, policies } = parts;
        let store = Store::open(&workspace.database())?;
        let objects = LocalStore::open(&workspace.store())?;
        let environments = EnvironmentCache::open(
            &workspace.environments(),
            CacheOptions {
                host: containers::host().clone(),
                objects: Some(objects.clone()),
                settings: policies.build.clone(),
                home: workspace.label(),
            },
        )?;
        let over_ssh = OverSsh::new(HomeSide {
            program: program.clone(),
            objects: objects.clone(),
            owner: workspace.owner()?,
        });
        let supervisors = Supervisors::new(program).with_engine(containers::host().clone());
        let home = workspace.home().to_owned();
        let local = LocalTarget::new(home, supervisors, objects.clone(), environments.clone());
        let systemd = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let targets = Targets::load(Arc::new(local), &workspace, systemd, Box::new(over_ssh))?;
        let (scheduler, inbox) = Scheduler::new();
        let agent = Self {
            store,
            objects,
            environments,
            container_policy: policies.container,
            upkeep: policies.upkeep,
            most_environment_bytes: policies.build.max_bytes,
            targets,
            live: Default::default(),
            packages: Default::default(),
            scheduler,
            collecting: Default::default(),
            stop: Default::default(),
            capacity_here: capacity,
            started: Timestamp::now(),
            boot_id: process_identity::boot_id()?,
            workspace,
        };
        Ok((Arc::new(agent), inbox))
    }

    /// Takes up what an earlier agent left, then answers and carries out runs until the stop.
    pub(crate) async fn work(self: &Arc<Self>, inbox: Inbox, announce: bool) -> anyhow::Result<()> {
        info!(pid = std::process::id(), version = env!("CARGO_PKG_VERSION"), "Started.");
        recovery::recover(self).await?;
        let listener = server::bind(self)?;
        let signals =
            task::spawn(info_span!("signals"), service::stop_on_signals(self.stop.clone()));
        let scheduling =
            task::spawn(info_span!("scheduler"), scheduler::work(Arc::clone(self), inbox));
        let sweeping = task::spawn(info_span!("sweep"), sweep(Arc::clone(self)));
        let cleaning =
            task::spawn(info_span!("upkeep"), upkeep::clean_those_in_use(Arc::clone(self)));
        if announce && let Err(error) = service::announce_ready() {
            // Whoever started us has gone; that is no reason not to work.
            warn!(%error, "Could not say that the agent is ready.");
        }
        server::serve(Arc::clone(self), listener).await;
        drop((signals, scheduling, sweeping, cleaning));
        remove_socket(self.workspace.socket());
        Ok(())
    }
}

/// Removes what crashed builds and runs left, out of the way of what the agent is asked.
async fn sweep(agent: Arc<Agent>) {
    match containers::sweep(&agent, false).await {
        Ok(0) => {}
        Ok(count) => info!(count, "Removed containers that were left over."),
        Err(error) => {
            error!(%error, "Could not look for containers that are left over.");
        }
    }
    let environments = agent.environments.clone();
    match task::blocking(move || environments.sweep()).await {
        Ok(0) => {}
        Ok(count) => info!(count, "Removed what unfinished builds left."),
        Err(error) => {
            let error = anyhow::Error::from(error);
            error!("Could not remove what unfinished builds left: {error:#}");
        }
    }
}

fn remove_socket(socket: &Path) {
    if let Err(error) = std::fs::remove_file(socket) {
        warn!(%error, "Could not remove the socket.");
    }
}

/// Puts panics into the log: a detached agent has no stderr.
fn log_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        error!(message = panic.payload_as_str(), at = ?panic.location(), "Panicked.");
        usual(panic);
    }));
}

/// Sends the log to `path`, and to stderr where someone watches.
fn log_to(path: &Path, verbose: bool) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    use tracing_subscriber::EnvFilter;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    if path.metadata().is_ok_and(|found| found.len() > LOG_SIZE) {
        let aside: PathBuf = path.with_extension("log.old");
        std::fs::rename(path, &aside).with_context(|| format!("cannot put aside {path:?}"))?;
    }
    let mut options = std::fs::OpenOptions::new();
    let file = options.append(true).create(true).mode(0o600).open(path);
    let file = file.with_context(|| format!("cannot open {path:?}"))?;
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::Level::INFO.into())
        .with_env_var("TRAINYARD_LOG")
        .from_env_lossy();
    let to_file = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(file);
    let to_stderr = verbose.then(|| tracing_subscriber::fmt::layer().with_writer(std::io::stderr));
    let registry = tracing_subscriber::registry().with(filter).with(to_file).with(to_stderr);
    registry.try_init().context("cannot begin to log")
}
