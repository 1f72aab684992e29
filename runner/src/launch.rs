//! What a supervisor is asked to do: program, environment, limits.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::container::ContainerLaunch;
use crate::run_id::RunId;
use crate::sandbox::cgroup::ProcessLimits;
use crate::sandbox::policy::SandboxPolicy;

/// The version this program writes into `launch.json`, and the only one it reads.
pub const LAUNCH_VERSION: u32 = 1;

/// How long a run may take to end after it was asked to, in seconds.
pub const DEFAULT_GRACE_SECONDS: f64 = 30.0;

/// What `launch.json` says: all that a supervisor needs to know of a run.
///
/// Secrets are not in it: their values are in `secrets.json` until the supervisor has read them.
/// `Debug` shows the names of the environment variables only.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Launch {
    /// The version of this record, [`LAUNCH_VERSION`].
    pub version: u32,
    /// Which run it is.
    pub run_id: RunId,
    /// The program and its arguments. A program without `/` is looked for in the `PATH` of
    /// `environment`.
    pub program: Vec<String>,
    /// The whole environment of the script, but for `TMPDIR`, which the supervisor adds unless
    /// it is here, and the secrets. Nothing is inherited.
    pub environment: BTreeMap<String, String>,
    /// Which entries of `secrets.json` become environment variables.
    #[serde(default)]
    pub secret_names: Vec<String>,
    /// Where the script starts: absolute, or relative to the run directory. As a rule `work`.
    pub working_directory: PathBuf,
    /// How long the script may run. Default: without limit.
    #[serde(default)]
    pub timeout_seconds: Option<f64>,
    /// How long it may take to end after TERM, before it is killed.
    #[serde(default = "default_grace")]
    pub grace_seconds: f64,
    /// What it may use, as a process of this machine; a container's limits are in `container`.
    /// Default: without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ProcessLimits>,
    /// How many bytes its files may take on the disk: its working directory, outputs, logs and
    /// temporary files. Default: without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// What it may see and reach, as a process of this machine. Default: all that its user may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxPolicy>,
    /// The container it runs in; `program` and `environment` are then as within it. Default: it
    /// is a process of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerLaunch>,
}

impl Launch {
    /// Returns what `/dev/shm` may hold, in bytes: half of the run's memory, as it is half of the
    /// machine's without a limit.
    #[must_use]
    pub fn shared_memory(&self) -> Option<u64> {
        self.limits.as_ref()?.memory_bytes.map(|bytes| bytes / 2)
    }
}

fn default_grace() -> f64 {
    DEFAULT_GRACE_SECONDS
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.environment.keys().collect();
        f.debug_struct("Launch")
            .field("version", &self.version)
            .field("run_id", &self.run_id)
            .field("program", &self.program)
            .field("environment", &names)
            .field("secret_names", &self.secret_names)
            .field("working_directory", &self.working_directory)
            .field("timeout_seconds", &self.timeout_seconds)
            .field("grace_seconds", &self.grace_seconds)
            .field("limits", &self.limits)
            .field("disk_bytes", &self.disk_bytes)
            .field("sandbox", &self.sandbox)
            .field("container", &self.container)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch() -> Launch {
        Launch {
            version: LAUNCH_VERSION,
            run_id: RunId::generate("exp", 1, 2),
            program: vec!["python3".to_owned(), "train.py".to_owned()],
            environment: BTreeMap::from([("API_KEY".to_owned(), "hunter2".to_owned())]),
            secret_names: vec!["TOKEN".to_owned()],
            working_directory: "work".into(),
            timeout_seconds: Some(1.5),
            grace_seconds: DEFAULT_GRACE_SECONDS,
            limits: None,
            disk_bytes: None,
            sandbox: None,
            container: None,
        }
    }

    #[test]
    fn the_file_keeps_its_shape() {
        let text = serde_json::to_string(&launch()).unwrap();

        insta::assert_snapshot!(text, @r#"{"version":1,"runId":"exp_1_00000002","program":["python3","train.py"],"environment":{"API_KEY":"hunter2"},"secretNames":["TOKEN"],"workingDirectory":"work","timeoutSeconds":1.5,"graceSeconds":30.0}"#);
        assert_eq!(serde_json::from_str::<Launch>(&text).unwrap(), launch());
    }

    #[test]
    fn one_written_before_there_were_containers_is_a_process_of_this_machine() {
        let text = r#"{"version":1,"runId":"exp_1_00000002","program":["python3","train.py"],"environment":{},"workingDirectory":"work"}"#;

        let launch: Launch = serde_json::from_str(text).unwrap();

        assert_eq!((launch.container, launch.timeout_seconds), (None, None));
        assert_eq!(launch.sandbox, None, "nor a sandbox");
        assert!(launch.secret_names.is_empty());
    }

    #[test]
    fn values_of_variables_are_not_printed() {
        let shown = format!("{:?}", launch());

        assert!(shown.contains("API_KEY"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn unknown_keys_are_refused() {
        let text = serde_json::to_string(&launch()).unwrap().replacen('{', "{\"cpus\":1,", 1);
        assert!(serde_json::from_str::<Launch>(&text).is_err());
    }
}
