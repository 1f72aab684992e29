//! Which environment a run gets, in the documented order, and saying so.

mod asked;
mod definition;
mod docker;
mod elsewhere;
mod named;
mod on_top;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use images::environment::Environment;
use runner::container::ContainerOptions;
use runner::run_configuration::{
    CondaChoice, EnvironmentChoice, LOCAL_TARGET, RunConfiguration, load_environment,
};
use snapshots::digest::Digest;

use self::definition::Kind;
use super::place::Source;
use crate::api::wire::submission::Hidden;
use crate::cli::{Context, Failure};
use crate::config::{Key, Origin, Settings};
use crate::registered::Register;

pub(in crate::cli) use self::asked::{asked, packages_on_top};
pub(in crate::cli) use self::elsewhere::moved;

/// The environment of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Chosen {
    /// What is sent to the agent, once its build context is known.
    pub(in crate::cli) environment: Environment,
    /// What people call it.
    pub(in crate::cli) name: String,
    /// Why it is this one.
    pub(in crate::cli) because: String,
    /// What its Dockerfile sees.
    pub(in crate::cli) build_context: Option<BuildContext>,
    /// What is asked of its container, if it is one.
    pub(in crate::cli) container: ContainerOptions,
    /// Variables that its scripts get, unless the run says otherwise.
    pub(in crate::cli) variables: BTreeMap<String, String>,
    /// The password for the registry of its image.
    pub(in crate::cli) registry_password: Option<Hidden>,
    /// What the user should know.
    pub(in crate::cli) notes: Vec<String>,
}

/// What the `COPY` lines of a Dockerfile see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum BuildContext {
    /// A directory of which a snapshot is still to be taken, and the Dockerfile's path in it.
    Directory(PathBuf, PathBuf),
    /// A snapshot that was taken when the environment was registered.
    Snapshot(Digest),
}

/// Where environments are looked for, and how they are changed.
pub(in crate::cli) struct Chooser<'a> {
    /// The settings.
    pub(in crate::cli) settings: &'a Settings,
    /// The source directory.
    pub(in crate::cli) source: &'a Source,
    /// The current directory.
    pub(in crate::cli) current: PathBuf,
    /// The environments that have names.
    pub(in crate::cli) register: Register,
    /// Whether packages that conda files list are taken from pip.
    pub(in crate::cli) conda_from_pip: bool,
    /// The other machine that the run is for, if it is not for this one: interpreters are there.
    pub(in crate::cli) elsewhere: Option<String>,
}

impl Chosen {
    fn new(environment: Environment, name: impl Into<String>, because: impl Into<String>) -> Self {
        Self {
            environment,
            name: name.into(),
            because: because.into(),
            build_context: None,
            container: ContainerOptions::default(),
            variables: BTreeMap::new(),
            registry_password: None,
            notes: Vec::new(),
        }
    }

    /// Adds what the run asks of its container; where it has none, says what is lost.
    pub(in crate::cli) fn take_options(&mut self, configuration: &RunConfiguration) {
        let asked = &configuration.container;
        if !self.is_contained() {
            if !asked.arguments.is_empty() {
                self.notes.push(format!(
                    "arguments for docker have no effect here: {} is not a container",
                    self.name
                ));
            }
            return;
        }
        self.container.arguments.extend(asked.arguments.iter().cloned());
        let size = configuration.resources.shm_bytes.or(asked.shm_bytes);
        self.container.shm_bytes = size.or(self.container.shm_bytes);
    }

    /// Says whether it is a container.
    pub(in crate::cli) fn is_contained(&self) -> bool {
        matches!(self.environment, Environment::Docker { .. })
    }
}

impl<'a> Chooser<'a> {
    /// Takes the settings and names of this user.
    ///
    /// # Errors
    ///
    /// Nothing says where state is kept, or there is no current directory.
    pub(in crate::cli) fn new(context: &'a Context, source: &'a Source) -> Result<Self, Failure> {
        let workspace = context.workspace()?;
        Ok(Self {
            settings: &context.settings,
            source,
            current: std::env::current_dir().map_err(Failure::failed)?,
            register: Register::new(&workspace),
            conda_from_pip: false,
            elsewhere: workspace.server().map(|server| server.host().to_owned()),
        })
    }

    /// Looks for interpreters where a run of `target` finds them.
    pub(in crate::cli) fn on(mut self, target: &str) -> Self {
        if target != LOCAL_TARGET {
            self.elsewhere = Some(target.to_owned());
        }
        self
    }

    /// Decides the environment. `configured` is what the flags and the run configuration ask for.
    ///
    /// # Errors
    ///
    /// What was asked for or found cannot be read or makes no sense, or there is no Python.
    pub(in crate::cli) fn choose(&self, configured: &EnvironmentChoice) -> Result<Chosen, Failure> {
        let (choice, because) = match configured {
            EnvironmentChoice::Default => self.of_settings()?,
            asked => (asked.clone(), "as asked for".to_owned()),
        };
        let mut chosen = self.of_choice(&choice, &because)?;
        if self.conda_from_pip {
            definition::take_from_pip(&mut chosen, self)?;
        }
        docker::map_image(&mut chosen, &self.settings.image_map());
        elsewhere::tell(&mut chosen, self);
        Ok(chosen)
    }

    fn of_choice(&self, choice: &EnvironmentChoice, because: &str) -> Result<Chosen, Failure> {
        match choice {
            EnvironmentChoice::Default => self.of_python(None, because),
            EnvironmentChoice::CurrentPython if self.elsewhere.is_some() => {
                self.of_python(None, because)
            }
            EnvironmentChoice::CurrentPython => {
                self.of_python(None, &format!("the current Python, {because}"))
            }
            EnvironmentChoice::Interpreter { path } => self.of_python(Some(path), because),
            EnvironmentChoice::File { path } => self.of_file(path, because),
            EnvironmentChoice::Conda(conda) => definition::conda(conda, self, because),
            EnvironmentChoice::Named { name, version } => {
                self.of_name(name, version.as_deref(), because)
            }
            EnvironmentChoice::Docker(docker) => docker::of_choice(docker, self, because),
        }
    }

    /// Decides where neither flags nor a run configuration say anything.
    fn of_settings(&self) -> Result<(EnvironmentChoice, String), Failure> {
        if let Some(setting) = self.settings.get(Key::Env) {
            let text = setting.value.to_string_lossy();
            let because = format!("from {}", setting.origin);
            return Ok((asked(&text, self.source, &self.current)?, because));
        }
        match self.settings.get(Key::Python).map(|setting| setting.origin) {
            Some(Origin::Flag) => {
                return Ok((EnvironmentChoice::Default, "as asked for".to_owned()));
            }
            Some(origin) => return Ok((EnvironmentChoice::Default, format!("from {origin}"))),
            None => {}
        }
        let files = asked::FILES.iter().map(|name| self.source.directory().join(name));
        Ok(match files.into_iter().find(|path| path.is_file()) {
            Some(path) => {
                (EnvironmentChoice::File { path }, "found in the source directory".to_owned())
            }
            None if self.elsewhere.is_some() => {
                (EnvironmentChoice::Default, "nothing else was asked for".to_owned())
            }
            None => (EnvironmentChoice::Default, "the current Python".to_owned()),
        })
    }

    fn of_python(&self, path: Option<&Path>, because: &str) -> Result<Chosen, Failure> {
        let interpreter = self.interpreter(path)?;
        let mut name = interpreter.display().to_string();
        if let Some(target) = &self.elsewhere {
            name.push_str(&format!(" of {target}"));
        }
        Ok(Chosen::new(Environment::UserManaged { interpreter }, name, because))
    }

    /// Finds the Python that was asked for, else the one of the settings, else the current one. For
    /// another machine, names it: it is found there.
    fn interpreter(&self, path: Option<&Path>) -> Result<PathBuf, Failure> {
        if let Some(target) = &self.elsewhere {
            return elsewhere::interpreter(path, self.settings, target);
        }
        let variable = |name: &str| std::env::var_os(name);
        let python = path.map(Path::to_owned).or_else(|| self.settings.path(Key::Python));
        images::interpreter::find(python.as_deref(), &variable).map_err(|error| {
            let hint = error.hint();
            Failure::usage(error).maybe_hint(hint)
        })
    }

    fn of_file(&self, path: &Path, because: &str) -> Result<Chosen, Failure> {
        let path = self.source.definition(path, &self.current).ok_or_else(|| {
            Failure::usage(format!("there is no environment file {}", path.display()))
        })?;
        match definition::kind(&path)? {
            Kind::Requirements => definition::requirements(&path, self, because),
            Kind::UvProject => definition::uv_project(&path, self, because),
            Kind::Dockerfile => docker::of_dockerfile(&path, self, because),
            Kind::Description => self.of_description(&path, because),
        }
    }

    /// Reads a file that says what it is by what is in it.
    fn of_description(&self, path: &Path, because: &str) -> Result<Chosen, Failure> {
        let loaded = load_environment(path).map_err(|error| {
            let hint = error.hint();
            Failure::usage(error).maybe_hint(hint)
        })?;
        let mut chosen = self.of_choice(&loaded.choice, because)?;
        if loaded.choice != EnvironmentChoice::Conda(CondaChoice::File(path.to_owned())) {
            chosen.because = format!("{} says so, {because}", self.named(path));
        }
        chosen.container = loaded.container;
        chosen.variables.extend(loaded.variables);
        chosen.notes.splice(0..0, loaded.notes.iter().map(ToString::to_string));
        Ok(chosen)
    }

    /// Returns what people call a file: its path in the source directory, if it is there.
    fn named(&self, path: &Path) -> String {
        path.strip_prefix(self.source.directory()).unwrap_or(path).display().to_string()
    }
}

#[cfg(test)]
mod tests;
