//! How runs wait in the queue.

use images::environment::Environment;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::disk::shortage::Shortage;

/// What a run in the queue waits for. Absent where it is about to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "for", rename_all = "camelCase")]
pub(crate) enum WaitsFor {
    /// Somebody to release it.
    Release,
    /// The ends of other runs.
    #[serde(rename_all = "camelCase")]
    Runs {
        /// Their ids.
        run_ids: Vec<String>,
    },
    /// A time: that of its next attempt.
    #[serde(rename_all = "camelCase")]
    Time {
        /// When.
        #[schema(value_type = String, format = DateTime)]
        time_utc: Timestamp,
    },
    /// A place on its target.
    Places {
        /// How many runs may be on there at once.
        most: usize,
    },
    /// Processors.
    Cpus {
        /// What it takes.
        wanted: f64,
        /// What is free.
        free: f64,
    },
    /// Memory.
    #[serde(rename_all = "camelCase")]
    Memory {
        /// What it takes.
        wanted_bytes: u64,
        /// What is free.
        free_bytes: u64,
    },
    /// GPUs.
    #[serde(rename_all = "camelCase")]
    Gpus {
        /// What it takes.
        wanted: u32,
        /// What is free.
        free: u32,
        /// Those that no run has, and that are not given because others use them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        in_use: Vec<GpuInUse>,
    },
    /// Room on the disk of the agent.
    Disk {
        /// What there is too little room for.
        shortage: Shortage,
    },
    /// A run that has waited long and for which what is free is kept.
    #[serde(rename_all = "camelCase")]
    Turn {
        /// Its id, where it is a run of the same user.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run_id: Option<String>,
    },
}

/// A GPU that others use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GpuInUse {
    /// Its UUID.
    pub(crate) gpu: String,
    /// The processes that have memory on it.
    pub(crate) pids: Vec<u32>,
}

/// Changes how a run waits. What is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ChangeWaiting {
    /// Whether it waits until somebody releases it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held: Option<bool>,
    /// Its priority: higher goes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) priority: Option<i32>,
    /// Where it is to be carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    /// Its environment, where it is another one on that target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) environment: Option<Environment>,
}

/// A run that another waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct After {
    /// Which: an id, the beginning of one, a display name, or `@` for the latest. In records it is
    /// the id.
    pub(crate) run: String,
    /// Whether any end will do. Default: it must complete, or the run that waits is ended too.
    #[serde(default)]
    pub(crate) any_end: bool,
}
