//! What a run's container may be: checked, and worked out from what was asked. Pure.

use std::collections::BTreeMap;

use images::engine::{HOME_LABEL, LABEL, Mount, RUN_LABEL};
use images::environment::PreparedImage;
use serde::{Deserialize, Serialize};

pub use self::policy::ContainerPolicy;
pub(crate) use self::policy::resolved;
use self::settings::Settings;
use crate::run_configuration::{Network, Resources};
use crate::run_id::RunId;

mod arguments;
pub mod bounds;
pub(crate) mod mounts;
mod policy;
mod settings;
mod table;
#[cfg(test)]
mod tests;

/// Where the run's working directory is within its container, as in Azure ML.
pub const WORKING_DIRECTORY: &str = "/azureml-run";
/// Where the run's temporary files are within its container; also its home directory.
pub const TEMPORARY: &str = "/tmp";
/// Where the run's pipes are within its container.
pub(crate) const IO_DIRECTORY: &str = "/run/trainyard";
/// Where the run's secrets are within its container.
pub(crate) const SECRETS_DIRECTORY: &str = "/run/secrets";

/// How many processes and threads a container has at most unless more are asked for.
const DEFAULT_PIDS: u64 = 4096;
/// Bytes of `/dev/shm`, as in Azure ML: what data loaders with workers need.
const DEFAULT_SHM_BYTES: u64 = 2 << 30;

/// What a run asks of its container besides its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ContainerOptions {
    /// Arguments as for `docker run`, of which some are allowed.
    pub arguments: Vec<String>,
    /// Bytes of `/dev/shm`. Default: 2 GiB, as in Azure ML.
    pub shm_bytes: Option<u64>,
}

/// All that decides what a container is.
#[derive(Clone, Copy, Debug)]
pub struct ContainerRequest<'a> {
    /// What was asked of the container.
    pub options: &'a ContainerOptions,
    /// The limits of the run.
    pub resources: &'a Resources,
    /// What of the network it may reach.
    pub network: Network,
    /// What is allowed.
    pub policy: &'a ContainerPolicy,
}

/// What may not be asked of a container.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{argument}: {why}")]
pub struct ContainerRefused {
    /// What was asked.
    pub argument: String,
    /// Why not.
    pub why: String,
    /// What to do instead.
    pub hint: String,
}

/// A container as it may be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerPlan {
    /// How many GPUs it gets, for [`gpu::choose`](crate::gpu::choose): also
    /// [`gpu::ALL`](crate::gpu::ALL).
    pub gpus: u32,
    /// The variables among its arguments: for
    /// [`ContainerEnvironment`](crate::base_environment::ContainerEnvironment).
    pub environment: BTreeMap<String, String>,
    /// What was left out or decided, one sentence each, for people.
    pub notes: Vec<String>,
    launch: ContainerLaunch,
}

/// What the supervisor needs to know of a run's container. Part of `launch.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ContainerLaunch {
    /// The image's id.
    pub image: String,
    /// What people call the image.
    pub reference: String,
    /// As `linux/amd64`.
    pub platform: Option<String>,
    /// The container's name, derived from the run id.
    pub name: String,
    /// As `1000:1000`. Its files are given to that user before it starts.
    pub user: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What of this machine it sees besides its working directory.
    pub mounts: Vec<Mount>,
    /// Directories it may see although they are the machine's own: as in [`ContainerPolicy`].
    pub policy: ContainerPolicy,
    /// File systems in memory: path and options.
    pub tmpfs: BTreeMap<String, String>,
    /// UUIDs of its GPUs.
    pub gpus: Vec<String>,
    /// `bridge`, `none`, or another network that was allowed.
    pub network: String,
    /// Processor cores.
    pub cpus: Option<f64>,
    /// Which cores.
    pub cpuset: Option<String>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Bytes of memory and swap together. Default: those of memory.
    pub memory_and_swap_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Bytes of `/dev/shm`.
    pub shm_bytes: Option<u64>,
    /// Limits of each process.
    pub ulimits: Vec<Ulimit>,
    /// The name it calls itself.
    pub hostname: Option<String>,
    /// As `name:address`.
    pub extra_hosts: Vec<String>,
    /// Whether its own file system is read-only.
    pub read_only: bool,
    /// Whether an init process reaps what is left behind in it.
    pub init: bool,
    /// What the administrator allowed by name: capabilities.
    pub capabilities: Vec<String>,
    /// The same: everything.
    pub privileged: bool,
    /// The same: security options.
    pub security_options: Vec<String>,
    /// The same: devices.
    pub devices: Vec<String>,
    /// The same: a namespace for shared memory.
    pub ipc: Option<String>,
    /// The same: a namespace for processes.
    pub pid: Option<String>,
}

/// A limit of each process of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ulimit {
    /// As `nofile`.
    pub name: String,
    /// The limit that holds; -1 is none.
    pub soft: i64,
    /// As far as a process may raise it; -1 is without limit.
    pub hard: i64,
}

/// Works out what the container is. Of an argument and an option of the run that say the same
/// thing, the run's counts.
///
/// # Errors
///
/// Something was asked for that could reach the machine, or that makes no sense.
pub fn plan(request: &ContainerRequest<'_>) -> Result<ContainerPlan, ContainerRefused> {
    let mut settings = Settings::default();
    settings.launch.init = true;
    settings.launch.shm_bytes = Some(request.options.shm_bytes.unwrap_or(DEFAULT_SHM_BYTES));
    settings.launch.pids = Some(DEFAULT_PIDS);
    let arguments = arguments::read(&request.options.arguments)?;
    for given in &arguments {
        settings.apply(given, request.policy)?;
    }
    let argued = |name: &str| arguments.iter().any(|given| given.known.name == name);
    let Settings { mut launch, environment, gpus, network, mut notes } = settings;
    let resources = request.resources;
    let mut wins = |name: &str| {
        if argued(name) {
            notes.push(format!(
                "{name} of the container's arguments is left out: the run's own counts"
            ));
        }
    };
    if let Some(cpus) = resources.cpus {
        wins("--cpus");
        launch.cpus = Some(cpus);
    }
    if let Some(bytes) = resources.memory_bytes {
        wins("--memory");
        launch.memory_bytes = Some(bytes);
    }
    if let Some(pids) = resources.pids {
        wins("--pids-limit");
        launch.pids = Some(pids);
    }
    if let Some(bytes) = resources.shm_bytes {
        wins("--shm-size");
        launch.shm_bytes = Some(bytes);
    }
    if resources.gpus.is_some() {
        wins("--gpus");
    }
    launch.network = match request.network {
        Network::Full => network.unwrap_or_else(|| "bridge".to_owned()),
        Network::Loopback | Network::None => {
            if network.is_some_and(|network| network != "none") {
                wins("--network");
            }
            "none".to_owned()
        }
    };
    check_memory(&mut launch, &mut notes);
    launch.policy = request.policy.clone();
    let gpus = resources.gpus.or(gpus).unwrap_or(0);
    Ok(ContainerPlan { gpus, environment, notes, launch })
}

/// Says whether these arguments of a container name a network.
#[must_use]
pub fn names_network(arguments: &[String]) -> bool {
    let read = arguments::read(arguments);
    // What cannot be read is refused where it is planned.
    read.is_ok_and(|all| all.iter().any(|one| ["--network", "--net"].contains(&one.known.name)))
}

/// The engine refuses memory and swap together that are less than memory.
fn check_memory(launch: &mut ContainerLaunch, notes: &mut Vec<String>) {
    let (Some(memory), Some(both)) = (launch.memory_bytes, launch.memory_and_swap_bytes) else {
        if launch.memory_and_swap_bytes.take().is_some() {
            notes.push("--memory-swap is left out: it means nothing without --memory".to_owned());
        }
        return;
    };
    if both < memory {
        launch.memory_and_swap_bytes = None;
        notes.push("--memory-swap is left out: it is less than the memory alone".to_owned());
    }
}

impl ContainerPlan {
    /// Completes it for one run. `home` is the state directory, for a label; `user` is `uid:gid`.
    #[must_use]
    pub fn launch(
        self,
        run: &RunId,
        image: &PreparedImage,
        user: &str,
        home: &str,
        gpus: Vec<String>,
    ) -> ContainerLaunch {
        let label = |name: &str, value: String| (name.to_owned(), value);
        let mut launch = self.launch;
        launch.image.clone_from(&image.id);
        launch.reference.clone_from(&image.reference);
        launch.platform.get_or_insert_with(|| image.platform.clone());
        launch.name = container_name(run);
        if launch.user.is_empty() {
            user.clone_into(&mut launch.user);
        }
        launch.labels = BTreeMap::from([
            label(LABEL, "1".to_owned()),
            label(RUN_LABEL, run.to_string()),
            label(HOME_LABEL, home.to_owned()),
        ]);
        launch.gpus = gpus;
        launch
    }
}

/// Returns what the container of `run` is called.
#[must_use]
pub fn container_name(run: &RunId) -> String {
    format!("trainyard-{run}")
}
