//! Starting and stopping: in which order things come up, and go.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::Context as _;
use images::cache::{CacheOptions, EnvironmentCache};
use jiff::Timestamp;
use runner::allocator;
use runner::compute_target::local::LocalTarget;
use runner::compute_target::ssh::HomeSide;
use runner::compute_target::supervisors::Supervisors;
use runner::{passed_socket, process_identity};
use tracing::{debug, error, info, info_span, warn};

use super::{Agent, Options, Parts};
use crate::api::server;
use crate::containers;
use crate::disk::governor::{self, Governor};
use crate::disk::runs;
use crate::drain::Drain;
use crate::gpus::{self, GpuBook};
use crate::listen::{self, Listener};
use crate::objects::Objects;
use crate::queue;
use crate::recovery;
use crate::scheduler::{self, Inbox, Scheduler};
use crate::service::{self, Notifier};
use crate::store::Store;
use crate::targets::{OverSsh, Targets};
use crate::task;
use crate::upkeep;
use crate::workspace::Workspace;
use crate::workspace::lock::AgentLock;

/// What still blocks a thread is left behind after so long: it ends with the process.
const THREADS: Duration = Duration::from_millis(500);

/// Runs the agent of `workspace` until it is told to stop. Runs that are on go on without it.
///
/// # Errors
///
/// The state directory cannot be used, another agent has it, the records cannot be read, or it
/// cannot listen where it is to.
pub(crate) fn run(workspace: Workspace, options: Options) -> anyhow::Result<()> {
    allocator::keep_little();
    workspace.create()?;
    let lock = AgentLock::take(&workspace)?;
    service::log::begin(&workspace.log(), options.verbose)?;
    if options.service_listens {
        debug!("[listen] of the machine's configuration is for its service, not for this agent.");
    }
    let listener = options.listen.as_ref().map(Listener::open).transpose()?;
    let cores = available_parallelism().map_or(1, std::num::NonZero::get);
    let limit = options.max_runs.map(std::num::NonZero::get);
    let parts = Parts {
        workspace,
        program: std::env::current_exe().context("cannot find this program")?,
        capacity: queue::of_this_machine(limit, cores),
        policies: options.policies,
    };
    let variable = |name: &str| std::env::var_os(name);
    let caller = Caller {
        notifier: Notifier::new(variable),
        socket: passed_socket::take(variable).context("cannot use the socket of systemd")?,
        listener,
        announce: options.announce,
    };
    let (agent, inbox) = Agent::open(parts)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(2, 4))
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let answered = runtime.block_on(agent.work(inbox, caller));
    runtime.shutdown_timeout(THREADS);
    let (commits, changes) = agent.store.writes();
    info!(commits, changes, "Stopped.");
    drop(lock);
    answered
}

/// What whoever started the agent passed to it and wants to hear.
struct Caller {
    notifier: Notifier,
    socket: Option<UnixListener>,
    /// What listens on TCP.
    listener: Option<Listener>,
    /// Say `ready` on standard output.
    announce: bool,
}

impl Agent {
    /// Opens the records and stores. Nothing runs yet.
    pub(crate) fn open(parts: Parts) -> anyhow::Result<(Arc<Self>, Inbox)> {
        let Parts { workspace, program, capacity, policies } = parts;
        let store = Store::open(&workspace.database())?;
        let objects = Arc::new(Objects::open(&workspace)?);
        let environments = EnvironmentCache::open(
            &workspace.environments(),
            CacheOptions {
                host: containers::host().clone(),
                settings: policies.build.clone(),
                home: workspace.label(),
            },
        )?;
        let over_ssh =
            OverSsh::new(HomeSide { program: program.clone(), owner: workspace.owner()? });
        let supervisors = Supervisors::new(program).with_engine(containers::host().clone());
        let home = workspace.home().to_owned();
        let local = LocalTarget::new(home, supervisors, environments.clone());
        let systemd = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let targets = Targets::load(Arc::new(local), &workspace, systemd, Box::new(over_ssh))?;
        let (scheduler, inbox) = Scheduler::new();
        let agent = Self {
            store,
            objects,
            environments,
            container_policy: policies.container,
            sandbox: policies.sandbox,
            machine_sandbox: Default::default(),
            upkeep: policies.upkeep,
            users: policies.users,
            uploads: Default::default(),
            most_environment_bytes: policies.build.max_bytes,
            targets,
            live: Default::default(),
            packages: Default::default(),
            releases: Default::default(),
            gpus: GpuBook::new(policies.only_free_gpus),
            scheduler,
            drain: Drain::load(workspace.draining())?,
            disk: Governor::new(workspace.home().to_owned(), policies.disk),
            statistics: Default::default(),
            collecting: Default::default(),
            stop: Default::default(),
            capacity_here: capacity,
            started: Timestamp::now(),
            boot_id: process_identity::boot_id()?,
            listening: Default::default(),
            workspace,
        };
        Ok((Arc::new(agent), inbox))
    }

    /// Takes up what an earlier agent left, then answers and carries out runs until the stop.
    async fn work(self: &Arc<Self>, inbox: Inbox, caller: Caller) -> anyhow::Result<()> {
        let Caller { notifier, socket, listener, announce } = caller;
        info!(pid = std::process::id(), version = env!("CARGO_PKG_VERSION"), "Started.");
        recovery::recover(self).await?;
        let certificate = listener.as_ref().and_then(|it| it.entrance.certificate.clone());
        let doors = server::open(self, socket, listener)?;
        let renewing =
            certificate.map(|it| task::spawn(info_span!("certificate"), listen::renew(it)));
        let signals =
            task::spawn(info_span!("signals"), service::stop_on_signals(self.stop.clone()));
        let scheduling =
            task::spawn(info_span!("scheduler"), scheduler::work(Arc::clone(self), inbox));
        let sweeping = task::spawn(info_span!("sweep"), sweep(Arc::clone(self)));
        let cleaning =
            task::spawn(info_span!("upkeep"), upkeep::clean_those_in_use(Arc::clone(self)));
        let watching = task::spawn(info_span!("gpus"), gpus::watch(Arc::clone(self)));
        let counting = task::spawn(info_span!("runs"), runs::count(Arc::clone(self)));
        let governing = task::spawn(info_span!("disk"), governor::govern(Arc::clone(self)));
        if announce && let Err(error) = service::announce_ready() {
            // Whoever started us has gone; that is no reason not to work.
            warn!(%error, "Could not say that the agent is ready.");
        }
        notifier.tell("READY=1");
        tokio::select! {
            () = server::serve(Arc::clone(self), doors) => {}
            never = service::keep_told(self, &notifier) => match never {},
        }
        notifier.tell("STOPPING=1");
        drop((signals, scheduling, sweeping, cleaning, watching, counting, governing, renewing));
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
