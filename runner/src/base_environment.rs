//! The environment every script gets: built from nothing, so that nothing leaks in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::container::{TEMPORARY, WORKING_DIRECTORY};
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
        let mut variables = Common {
            run_id: self.run_id,
            experiment: self.experiment,
            work: &self.directory.work(),
            user: self.user,
            time_zone: self.time_zone,
        }
        .variables();
        let mut set = |name: &str, value: String| variables.insert(name.to_owned(), value);
        set("PATH", search_path(self.path_entries, STANDARD_PATH));
        set("HOME", self.home.to_string_lossy().into_owned());
        variables
    }
}

/// The same for a script in a container: every path is one within it.
#[derive(Clone, Debug)]
pub struct ContainerEnvironment<'a> {
    /// Which run it is.
    pub run_id: &'a RunId,
    /// The experiment it belongs to.
    pub experiment: &'a str,
    /// The directories that the Python environment puts first on `PATH`, within the image.
    pub path_entries: &'a [PathBuf],
    /// The `PATH` that the image sets.
    pub search_path: Option<&'a str>,
    /// The name of the user the script runs as. The image need not know it.
    pub user: &'a str,
    /// The agent's `TZ`, if it has one.
    pub time_zone: Option<&'a str>,
    /// The variables among the container's arguments, which win over those here: of a
    /// [`ContainerPlan`](crate::container::ContainerPlan).
    pub arguments: &'a BTreeMap<String, String>,
}

impl ContainerEnvironment<'_> {
    /// Returns the variables. Those that the image sets hold besides, so that `PATH` is here only
    /// when the Python environment adds to it. The caller adds those of the Python environment,
    /// then those the user asked for.
    ///
    /// They are those of [`BaseEnvironment::variables`], with the run's directories below
    /// [`WORKING_DIRECTORY`] and `HOME` and `TMPDIR` at [`TEMPORARY`].
    #[must_use]
    pub fn variables(&self) -> BTreeMap<String, String> {
        let mut variables = Common {
            run_id: self.run_id,
            experiment: self.experiment,
            work: Path::new(WORKING_DIRECTORY),
            user: self.user,
            time_zone: self.time_zone,
        }
        .variables();
        let mut set = |name: &str, value: String| variables.insert(name.to_owned(), value);
        if !self.path_entries.is_empty() {
            let rest = self.search_path.unwrap_or(STANDARD_PATH);
            set("PATH", search_path(self.path_entries, rest));
        }
        set("HOME", TEMPORARY.to_owned());
        set("TMPDIR", TEMPORARY.to_owned());
        variables.extend(self.arguments.clone());
        variables
    }
}

/// What decides the variables that every script gets, wherever it runs.
struct Common<'a> {
    run_id: &'a RunId,
    experiment: &'a str,
    /// The working directory, as the script sees it.
    work: &'a Path,
    user: &'a str,
    time_zone: Option<&'a str>,
}

impl Common<'_> {
    fn variables(&self) -> BTreeMap<String, String> {
        let text = |path: &str| self.work.join(path).to_string_lossy().into_owned();
        let (outputs, logs) = (text("outputs"), text("logs"));
        let run_id = self.run_id.to_string();
        let mut variables = BTreeMap::new();
        let mut set = |name: &str, value: &str| {
            variables.insert(name.to_owned(), value.to_owned());
        };
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
        set("TRAINYARD_METRICS_FILE", &text("logs/metrics.jsonl"));
        set("AZUREML_FRAMEWORK", "Python");
        set("AZUREML_COMMUNICATOR", "None");
        set("AZUREML_TARGET_TYPE", "local");
        variables
    }
}

/// Puts `entries` before the directories of `rest`, unless they come first there already.
fn search_path(entries: &[PathBuf], rest: &str) -> String {
    let mut path = String::new();
    let first = rest.split(':').next().map(Path::new);
    for entry in entries.iter().filter(|entry| Some(entry.as_path()) != first) {
        path += &entry.to_string_lossy();
        path.push(':');
    }
    path + rest
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

    fn within(path_entries: &[PathBuf], search_path: Option<&str>) -> BTreeMap<String, String> {
        ContainerEnvironment {
            run_id: &RunId::generate("diabetes", 1_700_000_000, 0xab),
            experiment: "diabetes",
            path_entries,
            search_path,
            user: "ana",
            time_zone: None,
            arguments: &BTreeMap::from([("LANG".to_owned(), "C".to_owned())]),
        }
        .variables()
    }

    #[test]
    fn in_a_container_every_path_is_one_within_it() {
        let mut table = String::new();
        for (name, value) in within(&["/opt/env/bin".into()], Some("/usr/bin")) {
            table += &format!("{name}={value}\n");
        }
        insta::assert_snapshot!(table, @r#"
        AZUREML_ARM_PROJECT_NAME=diabetes
        AZUREML_COMMUNICATOR=None
        AZUREML_EXPERIMENT_NAME=diabetes
        AZUREML_FRAMEWORK=Python
        AZUREML_LOGDIRECTORY_PATH=/azureml-run/logs
        AZUREML_OUTPUT_DIRECTORY=/azureml-run/outputs
        AZUREML_RUN_ID=diabetes_1700000000_000000ab
        AZUREML_TARGET_TYPE=local
        HOME=/tmp
        LANG=C
        LOGNAME=ana
        PATH=/opt/env/bin:/usr/bin
        PYTHONUNBUFFERED=1
        TMPDIR=/tmp
        TRAINYARD_EXPERIMENT=diabetes
        TRAINYARD_LOG_DIR=/azureml-run/logs
        TRAINYARD_METRICS_FILE=/azureml-run/logs/metrics.jsonl
        TRAINYARD_OUTPUT_DIR=/azureml-run/outputs
        TRAINYARD_RUN_ID=diabetes_1700000000_000000ab
        USER=ana
        "#);
        let path = |entries: &[PathBuf], search_path| within(entries, search_path).remove("PATH");
        assert_eq!(path(&[], Some("/usr/bin")), None);
        assert_eq!(path(&["/e".into()], None).unwrap(), format!("/e:{STANDARD_PATH}"));
        assert_eq!(path(&["/e".into()], Some("/e:/bin")).unwrap(), "/e:/bin");
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
