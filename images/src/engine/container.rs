//! Containers: made, started, awaited, removed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Engine, EngineError};

/// What a container is to be. Plain data: what may be asked for is decided elsewhere.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerSpec {
    /// The image's id.
    pub image: String,
    /// As `linux/amd64`.
    pub platform: Option<String>,
    /// What is started, in place of the image's entry point.
    pub entrypoint: Vec<String>,
    /// Its arguments, in place of the image's command.
    pub command: Vec<String>,
    /// Variables. `docker inspect` shows them: no secrets.
    pub environment: BTreeMap<String, String>,
    /// Labels. No secrets.
    pub labels: BTreeMap<String, String>,
    /// As `1000:1000`.
    pub user: String,
    /// Where it starts.
    pub working_directory: String,
    /// What of this machine it sees.
    pub mounts: Vec<Mount>,
    /// File systems in memory: path and options.
    pub tmpfs: BTreeMap<String, String>,
    /// `bridge`, `none` or another network of the engine.
    pub network: String,
    /// Processor cores, in fractions too.
    pub cpus: Option<f64>,
    /// Which cores, as `0-3,8`.
    pub cpuset: Option<String>,
    /// Bytes of memory; as much swap is not added.
    pub memory_bytes: Option<u64>,
    /// Bytes of memory and swap together. Default: those of memory.
    pub memory_and_swap_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Bytes of `/dev/shm`.
    pub shm_bytes: Option<u64>,
    /// UUIDs of GPUs.
    pub gpus: Vec<String>,
    /// As `nofile`, soft, hard.
    pub ulimits: Vec<(String, i64, i64)>,
    /// The name it calls itself.
    pub hostname: Option<String>,
    /// As `name:address`.
    pub extra_hosts: Vec<String>,
    /// Whether its file system is read-only, mounts apart.
    pub read_only: bool,
    /// Whether an init process is put before it.
    pub init: bool,
    /// Capabilities it has. All others are dropped.
    pub capabilities: Vec<String>,
    /// Everything. Only where the administrator allowed it by name.
    pub privileged: bool,
    /// As `no-new-privileges`; where empty, that alone.
    pub security_options: Vec<String>,
    /// Devices of this machine, as `/dev/x`. Only where the administrator allowed it by name.
    pub devices: Vec<String>,
    /// As `host`. Only where the administrator allowed it by name.
    pub ipc: Option<String>,
    /// As `host`. Only where the administrator allowed it by name.
    pub pid: Option<String>,
}

/// A file or directory of this machine that a container sees.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Here.
    pub source: PathBuf,
    /// There.
    pub target: String,
    /// Whether it can only be read.
    pub read_only: bool,
}

/// A container that is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedContainer {
    /// Its id.
    pub id: String,
    /// Whether an earlier call had made it.
    pub found: bool,
}

/// Where a container stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerState {
    /// Its id.
    pub id: String,
    /// `created`, `running`, `exited`, …
    pub status: String,
    /// Whether it is on.
    pub running: bool,
    /// Its exit code, once it ended.
    pub exit_code: i64,
    /// Whether the kernel killed a process of it for memory.
    pub oom_killed: bool,
    /// What the engine could not do.
    pub error: String,
    /// The pid of its first process on this machine, while it is on.
    pub pid: i32,
    /// RFC 3339, as the engine says it.
    pub started_at: String,
    /// RFC 3339, as the engine says it.
    pub finished_at: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A container with our labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OurContainer {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it is on.
    pub running: bool,
}

/// The output of a container that was attached to before it was started.
#[derive(Debug)]
pub struct Attached {
    _private: (),
}

impl Engine {
    /// Makes a container called `name`. One of that name with the same [`RUN_LABEL`] is ours from
    /// an earlier try, and is returned.
    ///
    /// [`RUN_LABEL`]: super::RUN_LABEL
    ///
    /// # Errors
    ///
    /// The engine refuses.
    pub fn create_container(
        &self,
        name: &str,
        spec: &ContainerSpec,
    ) -> Result<CreatedContainer, EngineError> {
        let _ = (name, spec);
        todo!()
    }

    /// Attaches to stdout and stderr of a container that is not started yet. See
    /// [`Attached::follow`].
    ///
    /// # Errors
    ///
    /// The engine refuses.
    pub fn attach(&self, id: &str) -> Result<Attached, EngineError> {
        let _ = id;
        todo!()
    }

    /// Starts it. One that is on is what was wanted.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoProgram`] where what is to be started is not in the image; others.
    pub fn start_container(&self, id: &str) -> Result<(), EngineError> {
        let _ = id;
        todo!()
    }

    /// Sends it a signal, as `TERM`. One that is not on is what was wanted.
    ///
    /// # Errors
    ///
    /// The engine does not answer.
    pub fn signal_container(&self, id: &str, signal: &str) -> Result<(), EngineError> {
        let _ = (id, signal);
        todo!()
    }

    /// Says where a container, by name or id, stands. `None`: there is none.
    ///
    /// # Errors
    ///
    /// The engine does not answer.
    pub fn container(&self, name: &str) -> Result<Option<ContainerState>, EngineError> {
        let _ = name;
        todo!()
    }

    /// Waits until it is not on any more, or is gone. Blocks for as long as that takes.
    ///
    /// # Errors
    ///
    /// The engine went away; the container may be on.
    pub fn wait_container(&self, id: &str) -> Result<(), EngineError> {
        let _ = id;
        todo!()
    }

    /// Kills and removes it with its anonymous volumes. One that is not there is what was wanted.
    ///
    /// # Errors
    ///
    /// The engine does not answer or refuses.
    pub fn remove_container(&self, id: &str) -> Result<(), EngineError> {
        let _ = id;
        todo!()
    }

    /// Lists the containers with our labels, made by the agent of the state directory `home`.
    ///
    /// # Errors
    ///
    /// The engine does not answer.
    pub fn our_containers(&self, home: &str) -> Result<Vec<OurContainer>, EngineError> {
        let _ = home;
        todo!()
    }

    /// Runs a command in a new container without network to its end, removes the container, and
    /// returns its exit code and output (at most 4 MiB of each stream).
    ///
    /// # Errors
    ///
    /// The engine refuses, or `limit` has passed.
    pub fn run_container(
        &self,
        spec: &ContainerSpec,
        limit: std::time::Duration,
    ) -> Result<(i64, Vec<u8>, Vec<u8>), EngineError> {
        let _ = (spec, limit);
        todo!()
    }
}

impl Attached {
    /// Passes output on as it comes (`true`: stderr) until it ends or the engine goes away.
    ///
    /// # Errors
    ///
    /// The engine went away: output may be missing.
    pub fn follow(
        self,
        engine: &Engine,
        output: &mut dyn FnMut(bool, &[u8]),
    ) -> Result<(), EngineError> {
        let _ = (engine, output);
        todo!()
    }
}
