//! The agent itself.

use std::path::PathBuf;

use images::cache::{EnvironmentEntry, Tool};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::drain::Draining;
use crate::listen::Listening;
use crate::run::sandbox_offer::SandboxOffer;

/// Who answers, and how busy it is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AgentStatus {
    /// The version of this document.
    pub(crate) schema_version: u32,
    /// The agent's version.
    pub(crate) version: String,
    /// The agent's process.
    pub(crate) pid: u32,
    /// The user it runs as.
    pub(crate) uid: u32,
    /// Its state directory.
    #[schema(value_type = String)]
    pub(crate) home: PathBuf,
    /// The object store of whoever asks.
    #[schema(value_type = String)]
    pub(crate) store: PathBuf,
    /// Device and inode of that store: equal where command line and agent share one.
    pub(crate) store_id: String,
    /// When it started.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) started_time_utc: Timestamp,
    /// How many runs wait and how many are on.
    pub(crate) runs: RunCounts,
    /// How many runs may be on at once.
    pub(crate) concurrency: usize,
    /// That it starts none of those that wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) draining: Option<Draining>,
    /// How it is reached over TCP, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) listening: Option<Listening>,
    /// Whether whoever asks sees everybody's runs, and may stop and drain the agent.
    #[serde(default)]
    pub(crate) rules: bool,
    /// The sandbox of processes on its machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sandbox: Option<SandboxOffer>,
}

/// What a user has, and may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserUsage {
    /// The version of this document.
    pub(crate) schema_version: u32,
    /// The user's number.
    pub(crate) uid: u32,
    /// Their name, if the agent's machine knows them.
    pub(crate) user: Option<String>,
    /// Whether they rule the agent. Then they have no limits.
    pub(crate) rules: bool,
    /// Their runs that are not over.
    pub(crate) runs: u64,
    /// How many of these they may have; none is as many as they like.
    pub(crate) max_runs: Option<u64>,
    /// What their snapshots and runs take on the disk, in bytes.
    pub(crate) bytes: u64,
    /// How much they may.
    pub(crate) max_bytes: Option<u64>,
}

/// How many runs wait and how many are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct RunCounts {
    /// Runs that wait for a place.
    pub(crate) queued: usize,
    /// Runs that have one.
    pub(crate) running: usize,
}

/// What to free.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GcRequest {
    /// Only say what would go.
    #[serde(default)]
    pub(crate) dry_run: bool,
    /// Objects and snapshots younger than this stay, by default one day; tools and packages that
    /// builds keep and used within it, too, by default 30 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) grace_seconds: Option<u64>,
    /// Ended runs older than this go too. Default: none goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) older_than_seconds: Option<u64>,
    /// Environments that were not used for longest go until they take no more than so many bytes.
    /// Default: what the agent was told, else none goes. One that a run uses never goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) environment_max_bytes: Option<u64>,
}

/// What was freed, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GcReport {
    /// Ended runs that went.
    pub(crate) runs_removed: u64,
    /// What their directories took, as counted when they ended.
    #[serde(default)]
    pub(crate) run_bytes_freed: u64,
    /// Objects that went.
    pub(crate) objects_removed: u64,
    /// What they took on the disk.
    pub(crate) bytes_freed: u64,
    /// Pack files that went.
    pub(crate) packs_removed: u64,
    /// Pack files that were written anew without what nobody needs.
    pub(crate) packs_rewritten: u64,
    /// Snapshot records that went.
    pub(crate) snapshots_removed: u64,
    /// Left-overs of environments that were never finished.
    pub(crate) environment_leftovers: u64,
    /// Environments that went, or would go, those that were not used for longest first.
    #[serde(default)]
    pub(crate) environments_removed: Vec<RemovedEnvironment>,
    /// What they took.
    #[serde(default)]
    pub(crate) environment_bytes_freed: u64,
    /// What all environments take afterwards, or would.
    #[serde(default)]
    pub(crate) environment_bytes_left: u64,
    /// What builds kept for later ones and none used any more.
    #[serde(default)]
    pub(crate) tools_removed: Vec<RemovedTool>,
    /// What of that they alone took.
    #[serde(default)]
    pub(crate) tool_bytes_freed: u64,
    /// What the rest of it takes.
    #[serde(default)]
    pub(crate) tool_bytes_left: u64,
    /// Containers that nothing needed.
    #[serde(default)]
    pub(crate) containers_removed: u64,
}

/// Something that builds kept, and that went, or would go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RemovedTool {
    /// What it was: `uv`, or `conda` for packages.
    pub(crate) name: String,
    /// What it alone took.
    pub(crate) bytes: u64,
    /// When a build last used it.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) last_used_time_utc: Timestamp,
}

impl From<Tool> for RemovedTool {
    fn from(tool: Tool) -> Self {
        let Tool { name, bytes, last_used_time_utc } = tool;
        Self { name, bytes, last_used_time_utc }
    }
}

/// An environment that went, or would go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RemovedEnvironment {
    /// Its key.
    pub(crate) key: String,
    /// What it was made from, as `requirements.txt`.
    pub(crate) definition: String,
    /// What it took.
    pub(crate) bytes: u64,
    /// When a run last asked for it.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) last_used_time_utc: Timestamp,
}

impl From<&EnvironmentEntry> for RemovedEnvironment {
    fn from(entry: &EnvironmentEntry) -> Self {
        Self {
            key: entry.key.to_string(),
            definition: entry.definition.clone(),
            bytes: entry.bytes,
            last_used_time_utc: entry.last_used_time_utc,
        }
    }
}
