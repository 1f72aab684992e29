//! What is to be run: flags over a run configuration file over settings.

use std::path::{Path, PathBuf};

use runner::run_configuration::{
    self, DockerChoice, EnvironmentChoice, Network, Note, Overrides, Resources, RunConfiguration,
    duration, size,
};

use super::environment::{self, Chooser, Chosen, packages_on_top};
use super::place::Source;
use super::{Args, What};
use crate::cli::{Failure, variables};
use crate::config::{Key, Settings};

/// What is to be run, and from where.
#[derive(Debug)]
pub(in crate::cli) struct Wanted {
    /// What is to be run.
    pub(in crate::cli) configuration: RunConfiguration,
    /// The source directory.
    pub(in crate::cli) source: Source,
    /// What the user should know about the file.
    pub(in crate::cli) notes: Vec<String>,
}

/// Reads the run configuration file, if there is one, and lays the command line over it.
///
/// # Errors
///
/// The user asked for what cannot be, or not yet.
pub(in crate::cli) fn wanted(args: &Args, settings: &mut Settings) -> Result<Wanted, Failure> {
    let current = std::env::current_dir().map_err(Failure::failed)?;
    let file = args.what.runconfig.as_deref();
    let what = &args.what;
    let replaced = what.env.is_some() || what.docker.is_some() || what.python.is_some();
    let stays = |note: &Note| !replaced || !is_about_environment(&note.key);
    let mut wanted = from_file(file, what.source.as_deref(), &current, &stays)?;
    let flags = overrides(args, &wanted.source, &current)
        .map_err(|failure| failure.noting(&wanted.notes))?;
    wanted.configuration = wanted.configuration.overlaid(&flags);
    if let Some(python) = &args.what.python {
        settings.set_flag(Key::Python, python.as_os_str());
        if args.what.env.is_none() && args.what.docker.is_none() {
            wanted.configuration.environment =
                EnvironmentChoice::Interpreter { path: python.clone() };
        }
    }
    finish(&mut wanted, settings, &current, file.is_some())?;
    Ok(wanted)
}

/// Reads a run configuration file, or begins with an empty one.
fn from_file(
    file: Option<&Path>,
    source: Option<&Path>,
    current: &Path,
    stays: &dyn Fn(&Note) -> bool,
) -> Result<Wanted, Failure> {
    let loaded = file
        .map(|file| {
            run_configuration::load(file).map_err(|error| {
                let hint = error.hint();
                Failure::usage(error).maybe_hint(hint)
            })
        })
        .transpose()?;
    let (configuration, said, notes) = match loaded {
        Some(loaded) => (loaded.configuration, loaded.source_directory, loaded.notes),
        None => (RunConfiguration::default(), None, Vec::new()),
    };
    let directory = source.map(Path::to_owned).or(said).unwrap_or_else(|| PathBuf::from("."));
    Ok(Wanted {
        configuration,
        source: Source::open(&current.join(directory))?,
        notes: notes.iter().filter(|note| stays(note)).map(ToString::to_string).collect(),
    })
}

/// Tells whether a note on this key says what packages a file has, or whether they are in a
/// container: nobody needs to hear it of an environment that the command line replaces.
fn is_about_environment(key: &str) -> bool {
    key.starts_with("environment.python.")
        || ["docker.useDocker", "environment.docker.enabled"].contains(&key)
}

/// Returns what a job file asks for, without a command line over it.
///
/// # Errors
///
/// As [`wanted`].
pub(in crate::cli) fn of_job_file(file: &Path, settings: &Settings) -> Result<Wanted, Failure> {
    let current = std::env::current_dir().map_err(Failure::failed)?;
    let mut wanted = from_file(Some(file), None, &current, &|_| true)?;
    finish(&mut wanted, settings, &current, true)?;
    Ok(wanted)
}

/// Fills in what settings say and finds the script; then nothing is left but to do it. A refusal
/// comes with the notes on the file, since they often tell where it comes from.
fn finish(
    wanted: &mut Wanted,
    settings: &Settings,
    current: &Path,
    has_file: bool,
) -> Result<(), Failure> {
    fill_in(wanted, settings, current, has_file).map_err(|failure| failure.noting(&wanted.notes))
}

fn fill_in(
    wanted: &mut Wanted,
    settings: &Settings,
    current: &Path,
    has_file: bool,
) -> Result<(), Failure> {
    let configuration = &mut wanted.configuration;
    if let Some(script) = &configuration.script {
        configuration.script = Some(wanted.source.script(script, current)?);
    }
    if !has_file && configuration.target == run_configuration::LOCAL_TARGET {
        configuration.target = settings.text(Key::Target).unwrap_or_default();
    }
    if configuration.timeout_seconds.is_none() {
        let text = settings.text(Key::Timeout);
        configuration.timeout_seconds =
            text.map(|text| duration::parse_seconds(&text)).transpose().map_err(Failure::usage)?;
    }
    let experiment = configuration.experiment.take().or_else(|| settings.text(Key::Experiment));
    configuration.experiment = Some(experiment.unwrap_or_else(|| wanted.source.experiment()));
    if let Some(name) = &configuration.display_name {
        check_display_name(name)?;
    }
    configuration.validate().map_err(|error| {
        let hint = error.hint();
        Failure::usage(error).maybe_hint(hint)
    })?;
    Ok(())
}

/// Chooses the environment; then all is known that could be refused here, and is. A refusal comes
/// with the notes on the file.
///
/// # Errors
///
/// The environment cannot be read or found, or something is asked for that is not done yet.
pub(in crate::cli) fn choose(wanted: &Wanted, chooser: &Chooser<'_>) -> Result<Chosen, Failure> {
    let configuration = &wanted.configuration;
    let chosen = match chooser.choose(&configuration.environment) {
        Ok(mut chosen) => check(configuration).map(|()| {
            chosen.take_options(configuration);
            chosen
        }),
        // What is refused whatever the environment is goes first.
        Err(failure) => check(configuration).and(Err(failure)),
    };
    chosen.map_err(|failure| failure.noting(&wanted.notes))
}

fn check(configuration: &RunConfiguration) -> Result<(), Failure> {
    run_configuration::not_yet(configuration).map_err(|error| {
        let hint = error.hint();
        Failure::usage(error).hint(hint)
    })
}

/// Checks a display name here: the agent would refuse it too, but after the snapshot.
///
/// # Errors
///
/// It names no run, or cannot be shown.
pub(in crate::cli) fn check_display_name(name: &str) -> Result<(), Failure> {
    const LONGEST: usize = 255;
    let why = match name {
        "" => "is empty",
        "@" => "stands for the latest run",
        "." | ".." => "is a step in a path",
        _ if name.len() > LONGEST => "is longer than 255 bytes",
        _ if name.chars().any(char::is_control) => "has control characters",
        _ => return Ok(()),
    };
    let shown: String = name.chars().take(40).collect();
    Err(Failure::usage(format!("{shown:?} cannot be a run's name: it {why}"))
        .hint("choose another with --name, or leave it out to have one made up"))
}

/// Returns what the command line asks for.
fn overrides(args: &Args, source: &Source, current: &Path) -> Result<Overrides, Failure> {
    let (what, machine, waiting) = (&args.what, &args.machine, &args.waiting);
    let bytes = |text: &Option<String>| {
        let parsed = text.as_deref().map(size::parse_bytes).transpose();
        parsed.map_err(Failure::usage)
    };
    let environment = environment(what, source, current)?;
    let mut typed = args.script.iter().cloned();
    let script = typed.next();
    let arguments: Vec<_> = typed.collect();
    Ok(Overrides {
        script,
        command: args.command.clone(),
        arguments: (!arguments.is_empty()).then_some(arguments),
        target: what.target.clone(),
        environment,
        environment_variables: variables::variables(&what.env_vars, &variables::of_this_process)?,
        experiment: what.experiment.clone(),
        display_name: what.name.clone(),
        tags: variables::tags(&what.tags)?,
        timeout_seconds: machine
            .timeout
            .as_deref()
            .map(duration::parse_seconds)
            .transpose()
            .map_err(Failure::usage)?,
        grace_seconds: None,
        resources: Resources {
            cpus: machine.cpus,
            memory_bytes: bytes(&machine.memory)?,
            pids: machine.pids,
            disk_bytes: bytes(&machine.disk)?,
            shm_bytes: bytes(&machine.shm_size)?,
            gpus: machine.gpus,
        },
        network: machine
            .network
            .as_deref()
            .map(str::parse::<Network>)
            .transpose()
            .map_err(Failure::usage)?,
        sandbox: machine.sandbox,
        mounts: machine.mounts.clone(),
        retry: args.retrying.policy()?,
        priority: waiting.priority,
        after: waiting.after.clone(),
        after_any: waiting.after_any.clone(),
        held: waiting.hold,
    })
}

/// Returns the environment that `--docker` and `--env` ask for. Without `--env`, a Python named by
/// `--python` is one in the image.
fn environment(
    what: &What,
    source: &Source,
    current: &Path,
) -> Result<Option<EnvironmentChoice>, Failure> {
    let Some(image) = &what.docker else {
        let asked = what.env.as_deref().map(|text| environment::asked(text, source, current));
        return asked.transpose();
    };
    let packages = what.env.as_deref().map(|text| packages_on_top(text, source, current));
    Ok(Some(EnvironmentChoice::Docker(Box::new(DockerChoice {
        packages: packages.transpose()?,
        interpreter: what.python.as_ref().map(|python| python.display().to_string()),
        ..DockerChoice::of_image(image)
    }))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_on_an_environment_are_told_from_others() {
        for key in ["environment.python.condaDependenciesFile", "docker.useDocker"] {
            assert!(is_about_environment(key), "{key}");
        }
        for key in ["docker.shmSize", "dataReferences", "environment.environmentVariables.A"] {
            assert!(!is_about_environment(key), "{key}");
        }
    }

    #[test]
    fn a_name_that_names_no_run_is_refused() {
        for name in ["", "@", ".", "..", "a\nb", &"x".repeat(256)] {
            let failure = check_display_name(name).unwrap_err();
            assert_eq!(failure.exit(true), crate::cli::Exit::USAGE, "{name:?}");
        }
        for name in ["two words", "...", "a@b", &"x".repeat(255)] {
            check_display_name(name).unwrap();
        }
    }
}
