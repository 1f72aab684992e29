//! The environment every script gets: built from nothing, so that nothing leaks in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::run_directory::RunDirectory;
use crate::run_id::RunId;

/// Where programs are looked for after the environment's own directories.
const STANDARD_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What decides a script's environment before the run's own variables are added.
#[derive(Clone, Debug)]
pub struct BaseEnvironment<'a> {
    /// Which run it is.
    pub run_id: &'a RunId,
    /// The experiment it belongs to.
    pub experiment: &'a str,
    /// Where the run is carried out.
    pub directory: &'a RunDirectory,
    /// The directories that the Python environment puts first on `PATH`.
    pub path_entries: &'a [PathBuf],
    /// The home directory of the user the script runs as.
    pub home: &'a Path,
    /// The name of that user.
    pub user: &'a str,
    /// The agent's `TZ`, if it has one.
    pub time_zone: Option<&'a str>,
}

impl BaseEnvironment<'_> {
    /// Returns the variables. The caller adds those of the Python environment
    /// (`VIRTUAL_ENV`, …), then those the user asked for, which win.
    ///
    /// | variable | value |
    /// |---|---|
    /// | `PATH` | the Python environment's directories, then the standard ones |
    /// | `HOME`, `USER`, `LOGNAME` | of the user the script runs as |
    /// | `LANG` | `C.UTF-8` |
    /// | `TZ` | the agent's, if set |
    /// | `TMPDIR` | added by the supervisor: `tmp/` of the run directory, removed at the end |
    /// | `PYTHONUNBUFFERED` | `1`: what is printed is seen at once |
    /// | `TRAINYARD_RUN_ID`, `AZUREML_RUN_ID` | the run id |
    /// | `TRAINYARD_EXPERIMENT`, `AZUREML_EXPERIMENT_NAME`, `AZUREML_ARM_PROJECT_NAME` | the experiment |
    /// | `TRAINYARD_OUTPUT_DIR`, `AZUREML_OUTPUT_DIRECTORY` | `outputs/`, absolute |
    /// | `TRAINYARD_LOG_DIR`, `AZUREML_LOGDIRECTORY_PATH` | `logs/`, absolute |
    /// | `TRAINYARD_METRICS_FILE` | `logs/metrics.jsonl`, absolute |
    /// | `AZUREML_FRAMEWORK`, `AZUREML_COMMUNICATOR`, `AZUREML_TARGET_TYPE` | `Python`, `None`, `local` |
    ///
    /// The Azure SDK goes online only when it also finds a subscription, a resource group, a
    /// workspace, a token and a service address. None of those is ever set here, so that
    /// `Run.get_context()` answers with an offline run. `PYTHONDONTWRITEBYTECODE` is left alone:
    /// the working directory is the run's own, and worker processes start faster with bytecode.
    #[must_use]
    pub fn variables(&self) -> BTreeMap<String, String> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let outputs = text(self.directory.outputs());
        let logs = text(self.directory.logs());
        let run_id = self.run_id.to_string();
        let mut variables = BTreeMap::new();
        let mut set = |name: &str, value: &str| {
            variables.insert(name.to_owned(), value.to_owned());
        };
        set("PATH", &self.search_path());
        set("HOME", &self.home.to_string_lossy());
        set("USER", self.user);
        set("LOGNAME", self.user);
        set("LANG", "C.UTF-8");
        if let Some(time_zone) = self.time_zone {
            set("TZ", time_zone);
        }
        set("PYTHONUNBUFFERED", "1");
        for name in ["TRAINYARD_RUN_ID", "AZUREML_RUN_ID"] {
            set(name, &run_id);
        }
        for name in ["TRAINYARD_EXPERIMENT", "AZUREML_EXPERIMENT_NAME", "AZUREML_ARM_PROJECT_NAME"]
        {
            set(name, self.experiment);
        }
        for name in ["TRAINYARD_OUTPUT_DIR", "AZUREML_OUTPUT_DIRECTORY"] {
            set(name, &outputs);
        }
        for name in ["TRAINYARD_LOG_DIR", "AZUREML_LOGDIRECTORY_PATH"] {
            set(name, &logs);
        }
        set("TRAINYARD_METRICS_FILE", &text(self.directory.metrics()));
        set("AZUREML_FRAMEWORK", "Python");
        set("AZUREML_COMMUNICATOR", "None");
        set("AZUREML_TARGET_TYPE", "local");
        variables
    }

    fn search_path(&self) -> String {
        let mut path = String::new();
        for entry in self.path_entries {
            path += &entry.to_string_lossy();
            path.push(':');
        }
        path + STANDARD_PATH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(time_zone: Option<&str>) -> BTreeMap<String, String> {
        BaseEnvironment {
            run_id: &RunId::generate("diabetes", 1_700_000_000, 0xab),
            experiment: "diabetes",
            directory: &RunDirectory::new("/runs/r"),
            path_entries: &["/envs/e/bin".into()],
            home: Path::new("/home/ana"),
            user: "ana",
            time_zone,
        }
        .variables()
    }

    #[test]
    fn a_script_sees_these_variables_and_no_others() {
        let mut table = String::new();
        for (name, value) in variables(Some("Europe/Madrid")) {
            table += &format!("{name}={value}\n");
        }
        insta::assert_snapshot!(table, @r#"
        AZUREML_ARM_PROJECT_NAME=diabetes
        AZUREML_COMMUNICATOR=None
        AZUREML_EXPERIMENT_NAME=diabetes
        AZUREML_FRAMEWORK=Python
        AZUREML_LOGDIRECTORY_PATH=/runs/r/work/logs
        AZUREML_OUTPUT_DIRECTORY=/runs/r/work/outputs
        AZUREML_RUN_ID=diabetes_1700000000_000000ab
        AZUREML_TARGET_TYPE=local
        HOME=/home/ana
        LANG=C.UTF-8
        LOGNAME=ana
        PATH=/envs/e/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        PYTHONUNBUFFERED=1
        TRAINYARD_EXPERIMENT=diabetes
        TRAINYARD_LOG_DIR=/runs/r/work/logs
        TRAINYARD_METRICS_FILE=/runs/r/work/logs/metrics.jsonl
        TRAINYARD_OUTPUT_DIR=/runs/r/work/outputs
        TRAINYARD_RUN_ID=diabetes_1700000000_000000ab
        TZ=Europe/Madrid
        USER=ana
        "#);
    }

    #[test]
    fn no_time_zone_is_set_when_the_agent_has_none() {
        assert!(!variables(None).contains_key("TZ"));
    }

    /// All of them together are what the SDK's `_load_scope` needs; one alone is harmless.
    #[test]
    fn the_azure_sdk_stays_offline() {
        let variables = variables(None);
        for name in [
            "AZUREML_ARM_SUBSCRIPTION",
            "AZUREML_ARM_RESOURCEGROUP",
            "AZUREML_ARM_WORKSPACE_NAME",
            "AZUREML_RUN_TOKEN",
            "AZUREML_SERVICE_ENDPOINT",
            "AZUREML_DISCOVERY_SERVICE_ENDPOINT",
            "MLFLOW_TRACKING_URI",
        ] {
            assert!(!variables.contains_key(name), "{name}");
        }
    }
}
