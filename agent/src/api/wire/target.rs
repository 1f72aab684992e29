//! Compute targets: attaching, showing, looking at, cleaning and letting go.

use std::path::PathBuf;

use jiff::Timestamp;
use runner::remote::message::{Cleaned, Purged};
use runner::remote::report::MachineReport;
use serde::{Deserialize, Serialize};
use snapshots::digest::Digest;
use utoipa::ToSchema;

use super::run::OutOfContact;
use crate::targets::KeptCredential;

/// Asks for a machine to be attached. `Debug` shows no secret.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AttachRequest {
    /// What runs will call it: 3 to 24 letters, digits and `-`.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) host: Host,
    /// The machines to go through, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) jumps: Vec<Host>,
    /// What lets us in, there and on the way; the first that is accepted counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) credentials: Vec<KeptCredential>,
    /// systemd hands the agent the credential, as `trainyard.target.NAME`.
    #[serde(default)]
    pub(crate) credential_from_systemd: bool,
    /// The host key must be in this `known_hosts` file. Default: the key that is shown is pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) known_hosts: Option<PathBuf>,
    /// It may be something else than Ubuntu.
    #[serde(default)]
    pub(crate) allow_unsupported: bool,
}

/// An SSH server, and who logs in there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Host {
    /// A name or an address.
    pub(crate) address: String,
    /// Its port.
    #[serde(default = "ssh_port")]
    pub(crate) port: u16,
    /// Who logs in.
    pub(crate) user: String,
}

fn ssh_port() -> u16 {
    22
}

/// A compute target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Target {
    /// The version of this document.
    pub(crate) schema_version: u32,
    /// What runs call it.
    pub(crate) name: String,
    /// `local` or `remote`.
    pub(crate) r#type: String,
    /// How many runs may be on there at once.
    pub(crate) places: usize,
    /// How many runs wait for it.
    pub(crate) queued: usize,
    /// How many are on there.
    pub(crate) running: usize,
    /// Since when the agent starts none of those that wait, wherever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) draining_since_time_utc: Option<Timestamp>,
    /// That it cannot be reached now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) out_of_contact: Option<OutOfContact>,
    /// Of an attached machine: where it is and how it is logged in to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) remote: Option<Remote>,
}

/// Where an attached machine is, and how it is logged in to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Remote {
    /// Where it is.
    pub(crate) host: Host,
    /// Its host key, as `SHA256:…`.
    pub(crate) host_key_fingerprint: String,
    /// What kind of key that is, as `ssh-ed25519`.
    pub(crate) host_key_algorithm: String,
    /// The machines to go through, the nearest first.
    pub(crate) jumps: Vec<Jump>,
    /// What lets us in, by kind: `password`, `key`, `agent`; never the thing itself.
    pub(crate) credentials: Vec<String>,
    /// When it was cleaned last, and of what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cleaned: Option<CleanedMachine>,
    /// Whether it may be something else than Ubuntu.
    pub(crate) allow_unsupported: bool,
    /// When it was attached.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) attached_time_utc: Timestamp,
}

/// A machine on the way to an attached one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Jump {
    /// A name or an address.
    pub(crate) address: String,
    /// Its port.
    pub(crate) port: u16,
    /// Who logs in.
    pub(crate) user: String,
    /// Its host key, as `SHA256:…`.
    pub(crate) host_key_fingerprint: String,
    /// What kind of key that is, as `ssh-ed25519`.
    pub(crate) host_key_algorithm: String,
}

/// What to look at on a machine.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CheckRequest {
    /// Pins the host key with this fingerprint, `SHA256:…`, if it is the one that is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) accept_host_key: Option<String>,
}

/// A target, and what its machine is and has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CheckedTarget {
    /// The target.
    pub(crate) target: Target,
    /// What the machine is and has.
    #[schema(value_type = Object)]
    pub(crate) report: MachineReport,
    /// How far its clock is ahead of the agent's, in seconds.
    pub(crate) clock_ahead_seconds: Option<f64>,
}

/// What came of letting a machine go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Detached {
    /// What was removed from it, if that was asked for: `home`, `whole`, `bytes`.
    #[schema(value_type = Option<Object>)]
    pub(crate) purged: Option<Purged>,
}

/// What to remove from an attached machine.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CleanRequest {
    /// Ended runs that nobody came back for go, if they are older than this.
    pub(crate) runs_older_seconds: u64,
    /// Objects and environments go, those not used for longest first, until they take no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_bytes: Option<u64>,
    /// Only say what would go.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// What went from an attached machine, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CleanReport {
    /// `runs`, `runBytes`, `objects`, `objectBytes`, `environments`, `environmentBytes`.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub(crate) cleaned: Cleaned,
}

/// When an attached machine was cleaned last, and of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CleanedMachine {
    /// When that was.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) time_utc: Timestamp,
    /// What went.
    #[serde(flatten)]
    pub(crate) report: CleanReport,
}

/// Asks for a snapshot to be sent to a machine ahead of the runs that need it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SendRequest {
    /// The agent's store has it.
    #[schema(value_type = String)]
    pub(crate) snapshot_id: Digest,
}

/// What travelled: nothing of what the machine had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SendReport {
    /// Files and directory listings.
    pub(crate) objects: u64,
    /// Their bytes, before they were compressed.
    pub(crate) bytes: u64,
    /// How many times the machine was asked for something.
    pub(crate) round_trips: u64,
}
