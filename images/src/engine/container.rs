//! Containers: made, started, awaited, removed.

mod attached;
mod lifecycle;
mod maker;
mod request;
mod short_run;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use self::attached::Attached;
pub use self::short_run::ShortRun;

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
    /// What of the specification the engine will not do, in its words.
    pub warnings: Vec<String>,
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

#[cfg(test)]
mod tests;
