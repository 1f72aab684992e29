//! Handing in a run.

use std::collections::BTreeMap;
use std::fmt;

use images::environment::Environment;
use runner::container::ContainerOptions;
use runner::run_configuration::{Network, Resources, RetryPolicy};
use runner::sandbox::policy::{Mount, SandboxMode};
use serde::{Deserialize, Serialize};
use snapshots::digest::Digest;
use utoipa::ToSchema;

use super::waiting::After;

/// A run as it is handed in. `script` or `command` is given, never both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SubmitRequest {
    /// What the run belongs to.
    pub(crate) experiment: String,
    /// A name for people. Default: made up by the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    /// A file of the snapshot, run by the environment's Python.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) script: Option<String>,
    /// A line for the shell: bash where there is one, else sh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<String>,
    /// What the script is given.
    #[serde(default)]
    pub(crate) arguments: Vec<String>,
    /// Where it runs: `local`, or the name of an attached machine.
    pub(crate) target: String,
    /// What it runs in.
    #[schema(value_type = Object)]
    pub(crate) environment: Environment,
    /// What people call that environment.
    #[serde(default)]
    pub(crate) environment_name: String,
    /// Variables for the script.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub(crate) environment_variables: Variables,
    /// Variables for the script whose values are kept out of every record and log.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub(crate) secrets: Variables,
    /// The user's labels.
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    /// Facts, such as those of git.
    #[serde(default)]
    pub(crate) properties: BTreeMap<String, String>,
    /// When the run is ended if it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_seconds: Option<f64>,
    /// How long a run may take to end once asked to. Default: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) grace_seconds: Option<f64>,
    /// What it asks of its container, where its environment is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) container: Option<ContainerOptions>,
    /// What it may use of the machine.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schema(value_type = Object)]
    pub(crate) resources: Resources,
    /// What of the network it may reach: `full`, `loopback` or `none`. Default: what
    /// `sandbox.network` of the agent says, else `full` for those who rule it and `none` for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) network: Option<Network>,
    /// How much it is kept from, outside of a container: `default`, `strict` or `off`. Default:
    /// what the agent does with all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) sandbox: Option<SandboxMode>,
    /// What it is shown of the machine in a sandbox: `source` and `at`, both absolute, and
    /// `writable`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub(crate) mounts: Vec<Mount>,
    /// Whether the environment is resolved again, whatever was built before.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) fresh_environment: bool,
    /// The password for the registry of its image; kept out of every record and log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) registry_password: Option<Hidden>,
    /// The source, which the agent's store has by now.
    #[schema(value_type = String)]
    pub(crate) snapshot_id: Digest,
    /// Where the source was, for people to read.
    #[serde(default)]
    pub(crate) source_directory: String,
    /// What git would call the diff of the source, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) git_patch: Option<String>,
    /// What the user was warned of.
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
    /// The run that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rerun_of: Option<String>,
    /// Its place in the queue: higher goes first. Default: 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) priority: i32,
    /// Whether it waits until somebody releases it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) held: bool,
    /// How it is tried again: `retries`, from 1; `on`, any of `failure`, `oom`, `timeout`, besides
    /// what is not the script's doing; `delaySeconds` before the second attempt, then doubled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) retry: Option<RetryPolicy>,
    /// The runs that must be over before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) after: Vec<After>,
}

/// Says whether a field need not be written.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A text that does not print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Hidden(pub(crate) String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Environment variables. Values may be secret, so `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Variables(pub(crate) BTreeMap<String, String>);

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The answer to a run that was handed in: it is on the disk and will be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Submitted {
    /// The run's id.
    pub(crate) run_id: String,
    /// Its name for people.
    pub(crate) display_name: String,
    /// Whether it had been handed in before, under the same idempotency key.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) existing: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_variables_do_not_print() {
        let variables = Variables(BTreeMap::from([("KEY".to_owned(), "hunter2".to_owned())]));

        assert_eq!(format!("{variables:?}"), r#"{"KEY"}"#);
    }
}
