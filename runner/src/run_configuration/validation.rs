//! What a run configuration must be to be run at all.

use super::{InvalidResources, InvalidRetryPolicy, RunConfiguration};

/// The longest name of an experiment.
const EXPERIMENT_NAME_LENGTH: usize = 255;

/// What is wrong with a run configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfiguration {
    /// Neither a script nor a command.
    #[error("nothing to run: neither a script nor a command was named")]
    NothingToRun,
    /// Both a script and a command.
    #[error("both a script ({script:?}) and a command ({command:?}) were named")]
    ScriptAndCommand {
        /// The script.
        script: String,
        /// The command.
        command: String,
    },
    /// Arguments, and no script to give them to.
    #[error("arguments were given with a command, which takes none")]
    ArgumentsWithCommand,
    /// An experiment name against Azure ML's rule.
    #[error(
        "experiment name {name:?} is not 1 to 255 letters, digits, '_' and '-', of which the first is a letter or digit"
    )]
    ExperimentName {
        /// The name.
        name: String,
    },
    /// A name that no environment variable can have.
    #[error("environment variable name {name:?} is empty or has a '=' or a NUL in it")]
    VariableName {
        /// The name.
        name: String,
    },
    /// A text that no process can be given.
    #[error("{what} has a NUL character in it, which no program can be given")]
    Nul {
        /// Which text.
        what: String,
    },
    /// A run that would be ended before it starts.
    #[error("timeout of 0 seconds leaves no time to run")]
    NoTime,
    /// A limit that no run can have.
    #[error(transparent)]
    Resources(#[from] InvalidResources),
    /// Retries that cannot be.
    #[error(transparent)]
    Retry(#[from] InvalidRetryPolicy),
    /// A script path that is not below the source directory.
    #[error("script {script:?} is not a path inside the source directory")]
    ScriptOutside {
        /// The path.
        script: String,
    },
}

impl InvalidConfiguration {
    /// Returns one sentence on what to do next.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NothingToRun => {
                Some("Name the SCRIPT after the options, or give a shell line with --command.")
            }
            Self::ScriptAndCommand { .. } => Some("Keep one of the two."),
            Self::ArgumentsWithCommand => Some("Write the arguments into the command."),
            Self::ExperimentName { .. } => Some("Choose another with --experiment."),
            Self::ScriptOutside { .. } => {
                Some("Name it relative to the source directory, which --source sets.")
            }
            Self::Resources(error) => Some(error.hint()),
            Self::Retry(_) => Some("See --retries and --retry-delay."),
            Self::VariableName { .. } | Self::Nul { .. } | Self::NoTime => None,
        }
    }
}

/// Checks an experiment's name against Azure ML's rule, `^[a-zA-Z0-9][\w\-]{0,254}$` in ASCII.
///
/// # Errors
///
/// The name breaks it.
pub fn check_experiment_name(name: &str) -> Result<(), InvalidConfiguration> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let fits = (1..=EXPERIMENT_NAME_LENGTH).contains(&name.len())
        && name.bytes().all(plain)
        && name.as_bytes()[0].is_ascii_alphanumeric();
    if fits { Ok(()) } else { Err(InvalidConfiguration::ExperimentName { name: name.to_owned() }) }
}

impl RunConfiguration {
    /// Checks that this can be run, as far as the configuration alone can tell.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn validate(&self) -> Result<(), InvalidConfiguration> {
        use InvalidConfiguration as Invalid;
        match (&self.script, &self.command) {
            (None, None) => return Err(Invalid::NothingToRun),
            (Some(script), Some(command)) => {
                let (script, command) = (script.clone(), command.clone());
                return Err(Invalid::ScriptAndCommand { script, command });
            }
            (None, Some(_)) if !self.arguments.is_empty() => {
                return Err(Invalid::ArgumentsWithCommand);
            }
            (None, Some(_)) => {}
            (Some(script), None) => check_script(script)?,
        }
        if let Some(name) = &self.experiment {
            check_experiment_name(name)?;
        }
        if self.timeout_seconds == Some(0) {
            return Err(Invalid::NoTime);
        }
        self.resources.check()?;
        if let Some(retry) = &self.retry {
            retry.check()?;
        }
        if let Some(name) =
            self.environment_variables.keys().find(|n| n.is_empty() || n.contains(['=', '\0']))
        {
            return Err(Invalid::VariableName { name: name.clone() });
        }
        self.check_for_nul()
    }

    fn check_for_nul(&self) -> Result<(), InvalidConfiguration> {
        let texts = self
            .arguments
            .iter()
            .enumerate()
            .map(|(n, text)| (format!("argument {}", n + 1), text));
        let values = self
            .environment_variables
            .iter()
            .map(|(name, text)| (format!("environment variable {name}"), text));
        let command = self.command.iter().map(|text| ("the command".to_owned(), text));
        match texts.chain(values).chain(command).find(|(_, text)| text.contains('\0')) {
            Some((what, _)) => Err(InvalidConfiguration::Nul { what }),
            None => Ok(()),
        }
    }
}

/// The script must stay inside the source directory, else the snapshot has not got it.
fn check_script(script: &str) -> Result<(), InvalidConfiguration> {
    use std::path::{Component, Path};
    let mut depth = 0_i64;
    let mut inside = !script.is_empty() && !script.contains('\0');
    for component in Path::new(script).components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth -= 1,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => inside = false,
        }
        inside = inside && depth >= 0;
    }
    if inside && depth > 0 {
        Ok(())
    } else {
        Err(InvalidConfiguration::ScriptOutside { script: script.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> RunConfiguration {
        RunConfiguration { script: Some("a.py".to_owned()), ..RunConfiguration::default() }
    }

    fn wrong(change: impl FnOnce(&mut RunConfiguration)) -> String {
        let mut configuration = script();
        change(&mut configuration);
        let invalid = configuration.validate().unwrap_err();
        format!("{invalid}\n  hint: {}\n", invalid.hint().unwrap_or("-"))
    }

    #[test]
    fn a_script_or_a_command_can_be_run() {
        assert_eq!(script().validate(), Ok(()));
        let command = RunConfiguration { command: Some("make".to_owned()), ..Default::default() };
        assert_eq!(command.validate(), Ok(()));
    }

    #[test]
    fn what_cannot_be_run_is_said_with_what_to_do() {
        let variable = |name: &str, value: &str| {
            let (name, value) = (name.to_owned(), value.to_owned());
            wrong(move |c| drop(c.environment_variables.insert(name, value)))
        };
        let messages = [
            wrong(|c| c.script = None),
            wrong(|c| c.command = Some("make".to_owned())),
            wrong(|c| {
                (c.script, c.command) = (None, Some("make".to_owned()));
                c.arguments = vec!["a".to_owned()];
            }),
            wrong(|c| c.experiment = Some("my experiment".to_owned())),
            wrong(|c| c.timeout_seconds = Some(0)),
            wrong(|c| c.resources.pids = Some(0)),
            wrong(|c| c.arguments = vec!["a".to_owned(), "\0".to_owned()]),
            variable("", "x"),
            variable("A=B", "x"),
            variable("A", "\0"),
        ];
        insta::assert_snapshot!(messages.concat(), @r#"
        nothing to run: neither a script nor a command was named
          hint: Name the SCRIPT after the options, or give a shell line with --command.
        both a script ("a.py") and a command ("make") were named
          hint: Keep one of the two.
        arguments were given with a command, which takes none
          hint: Write the arguments into the command.
        experiment name "my experiment" is not 1 to 255 letters, digits, '_' and '-', of which the first is a letter or digit
          hint: Choose another with --experiment.
        timeout of 0 seconds leaves no time to run
          hint: -
        with a limit of 0 processes a run cannot start
          hint: Give --pids 1 or more, such as 4096.
        argument 2 has a NUL character in it, which no program can be given
          hint: -
        environment variable name "" is empty or has a '=' or a NUL in it
          hint: -
        environment variable name "A=B" is empty or has a '=' or a NUL in it
          hint: -
        environment variable A has a NUL character in it, which no program can be given
          hint: -
        "#);
    }

    #[test]
    fn a_script_stays_inside_the_source_directory() {
        for inside in ["a.py", "./a.py", "x/a.py", "x/../a.py", "a b.py", "-a.py", "..a.py"] {
            let configuration = RunConfiguration { script: Some(inside.to_owned()), ..script() };
            assert_eq!(configuration.validate(), Ok(()), "{inside}");
        }
        for outside in ["", ".", "..", "/a.py", "../a.py", "x/../../a.py", "x/..", "a\0.py"] {
            let configuration = RunConfiguration { script: Some(outside.to_owned()), ..script() };
            let invalid = InvalidConfiguration::ScriptOutside { script: outside.to_owned() };
            assert_eq!(configuration.validate(), Err(invalid), "{outside}");
        }
    }

    #[test]
    fn experiment_names_follow_azures_rule() {
        let longest = "a".repeat(255);
        for good in ["a", "A1", "0", "my-exp_2", "a__", longest.as_str()] {
            assert_eq!(check_experiment_name(good), Ok(()), "{good}");
        }
        let too_long = "a".repeat(256);
        for bad in ["", "-a", "_a", "a b", "a.b", "a/b", "é", "a\n", too_long.as_str()] {
            assert!(check_experiment_name(bad).is_err(), "{bad:?}");
        }
    }
}
