//! The command line's say over a run configuration file.

use std::collections::BTreeMap;

use crate::sandbox::policy::{Mount, SandboxMode};

use super::{EnvironmentChoice, Network, Resources, RetryPolicy, RunConfiguration};

/// What the flags of a command line ask for; what is `None` or empty was not given.
#[derive(Clone, Default, PartialEq)]
pub struct Overrides {
    /// The script; takes the place of a file's script or command.
    pub script: Option<String>,
    /// The shell line; takes the place of a file's command, or script with its arguments.
    pub command: Option<String>,
    /// The arguments; take the place of a file's, all of them.
    pub arguments: Option<Vec<String>>,
    /// `--target`
    pub target: Option<String>,
    /// `--env`, `--python` or `--docker`
    pub environment: Option<EnvironmentChoice>,
    /// `--env-var`; laid over a file's by name.
    pub environment_variables: BTreeMap<String, String>,
    /// `--experiment`
    pub experiment: Option<String>,
    /// `--name`
    pub display_name: Option<String>,
    /// `--tag`; laid over a file's by name.
    pub tags: BTreeMap<String, String>,
    /// `--timeout`
    pub timeout_seconds: Option<u64>,
    /// `--grace`
    pub grace_seconds: Option<u64>,
    /// `--cpus`, `--memory`, `--pids`, `--disk`, `--shm-size` and `--gpus`
    pub resources: Resources,
    /// `--network`
    pub network: Option<Network>,
    /// `--sandbox`
    pub sandbox: Option<SandboxMode>,
    /// `--mount`
    pub mounts: Vec<Mount>,
    /// `--retries`, `--on` and `--retry-delay`
    pub retry: Option<RetryPolicy>,
    /// `--priority`
    pub priority: Option<i32>,
    /// `--after`
    pub after: Vec<String>,
    /// `--after-any`
    pub after_any: Vec<String>,
    /// `--hold`
    pub held: bool,
}

/// Shows what [`RunConfiguration`]'s own `Debug` shows: no value of an environment variable.
impl std::fmt::Debug for Overrides {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Overrides").field(&RunConfiguration::default().overlaid(self)).finish()
    }
}

impl RunConfiguration {
    /// Returns this configuration with `flags` laid over it.
    ///
    /// A script given without arguments keeps the file's arguments, as the SDK's
    /// `ScriptRunConfig` does. A command has none, so it drops them.
    #[must_use]
    pub fn overlaid(mut self, flags: &Overrides) -> Self {
        let flags = flags.clone();
        if flags.script.is_some() || flags.command.is_some() {
            if flags.command.is_some() {
                self.arguments.clear();
            }
            // Both at once is left for `validate` to refuse.
            self.script = flags.script;
            self.command = flags.command;
        }
        replace(&mut self.arguments, flags.arguments);
        replace(&mut self.target, flags.target);
        replace(&mut self.environment, flags.environment);
        self.network = flags.network.or(self.network);
        replace(&mut self.priority, flags.priority);
        self.sandbox = flags.sandbox.or(self.sandbox);
        self.mounts.extend(flags.mounts);
        self.environment_variables.extend(flags.environment_variables);
        self.tags.extend(flags.tags);
        self.experiment = flags.experiment.or(self.experiment);
        self.display_name = flags.display_name.or(self.display_name);
        self.timeout_seconds = flags.timeout_seconds.or(self.timeout_seconds);
        self.retry = flags.retry.or(self.retry);
        self.grace_seconds = flags.grace_seconds.or(self.grace_seconds);
        self.after.extend(flags.after);
        self.after_any.extend(flags.after_any);
        self.held |= flags.held;
        self.resources = self.resources.overlaid(&flags.resources);
        self
    }
}

impl Resources {
    fn overlaid(&self, over: &Self) -> Self {
        Self {
            cpus: over.cpus.or(self.cpus),
            memory_bytes: over.memory_bytes.or(self.memory_bytes),
            pids: over.pids.or(self.pids),
            disk_bytes: over.disk_bytes.or(self.disk_bytes),
            shm_bytes: over.shm_bytes.or(self.shm_bytes),
            gpus: over.gpus.or(self.gpus),
        }
    }
}

fn replace<T>(field: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *field = given;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn file() -> RunConfiguration {
        RunConfiguration {
            script: Some("file.py".to_owned()),
            arguments: vec!["--from-file".to_owned()],
            target: "vm".to_owned(),
            environment: EnvironmentChoice::CurrentPython,
            environment_variables: variables(&[("A", "file"), ("B", "file")]),
            tags: variables(&[("team", "file")]),
            timeout_seconds: Some(60),
            resources: Resources { gpus: Some(1), pids: Some(5), ..Resources::default() },
            ..RunConfiguration::default()
        }
    }

    #[test]
    fn values_of_variables_are_not_shown() {
        let secret = variables(&[("TOKEN", "hunter2")]);
        let flags = Overrides { environment_variables: secret, ..Overrides::default() };
        let shown = format!("{flags:?} {:?}", file().overlaid(&flags));
        assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_configuration_survives_being_written_as_json() {
        let written = serde_json::to_string(&file()).unwrap();
        assert_eq!(serde_json::from_str::<RunConfiguration>(&written).unwrap(), file());
        let empty: RunConfiguration = serde_json::from_str("{}").unwrap();
        assert_eq!(empty, RunConfiguration::default());
        assert!(serde_json::from_str::<RunConfiguration>(r#"{"scrpt": "a.py"}"#).is_err());
    }

    #[test]
    fn no_flags_change_nothing() {
        assert_eq!(file().overlaid(&Overrides::default()), file());
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_rest_stays() {
        let flags = Overrides {
            script: Some("flag.py".to_owned()),
            target: Some("local".to_owned()),
            environment: Some(EnvironmentChoice::Default),
            environment_variables: variables(&[("B", "flag"), ("C", "flag")]),
            tags: variables(&[("kind", "flag")]),
            grace_seconds: Some(5),
            resources: Resources { gpus: Some(2), ..Resources::default() },
            retry: Some(RetryPolicy::new(3, Default::default(), None)),
            ..Overrides::default()
        };

        let both = file().overlaid(&flags);

        let expected = RunConfiguration {
            script: Some("flag.py".to_owned()),
            target: "local".to_owned(),
            environment: EnvironmentChoice::Default,
            environment_variables: variables(&[("A", "file"), ("B", "flag"), ("C", "flag")]),
            tags: variables(&[("kind", "flag"), ("team", "file")]),
            grace_seconds: Some(5),
            resources: Resources { gpus: Some(2), pids: Some(5), ..Resources::default() },
            retry: Some(RetryPolicy::new(3, Default::default(), None)),
            ..file()
        };
        assert_eq!(both, expected);
    }

    #[test]
    fn given_arguments_take_the_place_of_all_of_the_files() {
        let flags = Overrides { arguments: Some(vec![]), ..Overrides::default() };
        assert_eq!(file().overlaid(&flags).arguments, Vec::<String>::new());
    }

    #[test]
    fn a_command_drops_the_files_script_and_its_arguments() {
        let flags = Overrides { command: Some("make".to_owned()), ..Overrides::default() };
        let both = file().overlaid(&flags);
        assert_eq!((both.script, both.command), (None, Some("make".to_owned())));
        assert_eq!(both.arguments, Vec::<String>::new());
    }

    #[test]
    fn a_script_drops_the_files_command() {
        let file = RunConfiguration { command: Some("make".to_owned()), ..Default::default() };
        let flags = Overrides { script: Some("a.py".to_owned()), ..Overrides::default() };
        let both = file.overlaid(&flags);
        assert_eq!((both.script, both.command), (Some("a.py".to_owned()), None));
    }
}
