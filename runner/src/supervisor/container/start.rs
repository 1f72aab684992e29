//! Makes and starts a run's container, and leaves nothing behind when that fails.

use std::path::Path;
use std::sync::Arc;

use images::engine::{ContainerSpec, CreatedContainer, Engine, EngineError, HOME_LABEL, Mount};
use images::host::HostVariables;

use super::owner::Owner;
use super::pipes::Pipes;
use super::secret_files::SecretFiles;
use super::signals::Signals;
use super::specification::{run_mounts, specification};
use super::watch::{self, News};
use super::{ContainerError, Output, RunningContainer, attached, engine_bounds, metadata};
use crate::container::{ContainerLaunch, ContainerRefused, mounts};
use crate::launch::Launch;
use crate::run_directory::RunDirectory;
use crate::supervisor::events::{Event, EventLog};
use crate::supervisor::secrets::Secrets;
use crate::supervisor::temporary_directory::TemporaryDirectory;

/// What is to be started.
#[derive(Debug)]
pub(crate) struct ContainerStart<'a> {
    pub(crate) run: &'a RunDirectory,
    pub(crate) launch: &'a Launch,
    pub(crate) container: &'a ContainerLaunch,
    pub(crate) secrets: &'a Secrets,
    pub(crate) temporary: &'a TemporaryDirectory,
}

impl ContainerStart<'_> {
    /// Starts it. Returns it with the reading ends of its stdout and stderr.
    pub(crate) fn start(
        self,
        events: &mut EventLog,
    ) -> Result<(RunningContainer, Output), ContainerError> {
        let (program, _) = self.launch.program.split_first().ok_or(ContainerError::Nothing)?;
        let variables = HostVariables::new(std::env::vars_os());
        let engine = Engine::connect(&variables)?;
        if !self.container.gpus.is_empty() && !engine.facts().gpus {
            return Err(ContainerError::NoGpus);
        }
        engine_bounds::check_owner(engine.facts(), nix::unistd::geteuid().as_raw())?;
        if let Some(lost) = engine_bounds::lost_limits(self.container, engine.facts()) {
            events.say(lost);
        }
        let confinement = engine_bounds::confinement(self.container, engine.facts());
        let follow = |source| ContainerError::Follow { source };
        let news = Arc::new(News::new().map_err(|error| follow(error.into()))?);
        // It connects while the container is made.
        let live_restore = engine.facts().live_restore;
        let watch =
            watch::spawn(Arc::clone(&news), variables.clone(), live_restore).map_err(follow)?;
        let user = &self.container.user;
        let owner =
            Owner::parse(user).ok_or_else(|| ContainerError::User { user: user.clone() })?;
        let mut mounts = self.shown(owner)?;
        let secrets = self.secret_files(owner, &variables)?;
        let pipes = Pipes::create(self.run)?;
        let output = pipes.output().map_err(follow)?;
        let look = pipes.look().map_err(follow)?;
        let (work, temporary, io) = (self.run.work(), self.temporary.path(), self.run.io());
        for path in [&work, temporary, &io] {
            owner.take_tree(path)?;
        }
        let secrets_path = secrets.as_ref().map(SecretFiles::path);
        mounts.extend(run_mounts(work, temporary, io, secrets_path));
        let specification = |shell| {
            specification(self.launch, self.container, mounts.clone(), engine.facts(), shell)
        };

        let name = &self.container.name;
        let (shell, id) = match start_one(&engine, name, &specification(true), events) {
            Err(EngineError::NoProgram { message, .. }) => {
                events.say(Event::NoShell { message });
                (false, None)
            }
            started => (true, Some(started?)),
        };
        let mut running = RunningContainer {
            signals: Signals::new(variables.clone(), Arc::clone(&news), look),
            id: String::new(),
            name: name.clone(),
            program: program.clone(),
            image: self.container.reference.clone(),
            without_shell: specification(false),
            shell,
            variables,
            engine,
            news,
            watch,
            attached: false,
            pipes,
            _secrets: secrets,
            asked: false,
            over: None,
            word: None,
            never_ran: None,
            confinement,
            without_engine: None,
        };
        match id {
            Some(id) => running.follow(id),
            None => running.start_without_shell(events)?,
        }
        Ok((running, output))
    }

    /// Writes the secrets that the script is to have.
    fn secret_files(
        &self,
        owner: Owner,
        variables: &HostVariables,
    ) -> Result<Option<SecretFiles>, ContainerError> {
        let names = &self.launch.secret_names;
        if names.is_empty() {
            return Ok(None);
        }
        let mut secrets = Vec::with_capacity(names.len());
        for name in names {
            let value = self
                .secrets
                .value(name)
                .ok_or_else(|| ContainerError::NoSecret { name: name.clone() })?;
            secrets.push((name.as_str(), value));
        }
        let id = &self.launch.run_id;
        SecretFiles::create(id, owner, variables, secrets.into_iter()).map(Some)
    }

    /// Returns what of this machine was asked for, by its real paths, if all of it may be seen.
    fn shown(&self, owner: Owner) -> Result<Vec<Mount>, ContainerError> {
        let home = self.container.labels.get(HOME_LABEL).map(Path::new);
        let home = home.map(|home| std::fs::canonicalize(home).unwrap_or_else(|_| home.to_owned()));
        let mut shown = Vec::new();
        for mount in &self.container.mounts {
            let no_source =
                |source| ContainerError::NoSource { path: mount.source.clone(), source };
            let real = owner.real_path(&mount.source).map_err(no_source)?;
            if let Some(why) = self.container.policy.refusal(&real, home.as_deref()) {
                return Err(ContainerError::Refused(ContainerRefused {
                    argument: format!("--volume {}:{}", mount.source.display(), mount.target),
                    why,
                    hint: mounts::allow_hint(&real),
                }));
            }
            shown.push(Mount { source: real, ..mount.clone() });
        }
        Ok(shown)
    }
}

/// Makes and starts a container; returns its id.
fn start_one(
    engine: &Engine,
    name: &str,
    specification: &ContainerSpec,
    events: &mut EventLog,
) -> Result<String, EngineError> {
    let id = created(engine, name, specification, events)?;
    started(engine, id, events)
}

/// Makes a container and says so; returns its id.
fn created(
    engine: &Engine,
    name: &str,
    specification: &ContainerSpec,
    events: &mut EventLog,
) -> Result<String, EngineError> {
    let CreatedContainer { id, warnings, .. } = engine.create_container(name, specification)?;
    let (name, image) = (name.to_owned(), specification.image.clone());
    events.say(Event::ContainerCreated { name, id: id.clone(), image });
    for message in warnings {
        events.say(Event::ContainerWarning { message });
    }
    if let Some(in_reach) = metadata::keep_from(engine, &id, specification) {
        events.say(in_reach);
    }
    Ok(id)
}

/// Starts the container `id`, or removes it.
fn started(engine: &Engine, id: String, events: &mut EventLog) -> Result<String, EngineError> {
    if let Err(error) = engine.start_container(&id) {
        if let Err(error) = engine.remove_container(&id) {
            eprintln!("cannot remove the container {id}: {error}");
        }
        return Err(error);
    }
    events.say(Event::ContainerStarted { id: id.clone() });
    Ok(id)
}

impl RunningContainer {
    /// Has the end of the container `id` told.
    fn follow(&mut self, id: String) {
        self.signals.follow(id.clone());
        // Without its thread there is no end to be told; it was there a moment ago.
        if self.watch.send(id.clone()).is_err() {
            eprintln!("the thread that follows the container {id} is gone");
        }
        self.id = id;
    }

    /// Starts the program itself, in place of an earlier container that is not on: the engine
    /// passes its output on.
    pub(super) fn start_without_shell(
        &mut self,
        events: &mut EventLog,
    ) -> Result<(), ContainerError> {
        self.shell = false;
        self.word = None;
        let engine = Engine::connect(&self.variables)?;
        let id = created(&engine, &self.name, &self.without_shell, events)?;
        let begun = self.begin_without_shell(engine, id.clone(), events);
        // At once, not by whoever looks after us: the run is over when this is.
        if begun.is_err()
            && let Err(error) = self.engine.remove_container(&id)
        {
            eprintln!("cannot remove the container {id}: {error}");
        }
        begun
    }

    fn begin_without_shell(
        &mut self,
        engine: Engine,
        id: String,
        events: &mut EventLog,
    ) -> Result<(), ContainerError> {
        let follow = |source| ContainerError::Follow { source };
        let attached = engine.attach(&id)?;
        let id = match started(&self.engine, id, events) {
            Err(EngineError::NoProgram { .. }) => {
                let (program, image) = (self.program.clone(), self.image.clone());
                return Err(ContainerError::NoProgram { program, image });
            }
            started => started?,
        };
        let writers = self.pipes.writers()?;
        let news = Arc::clone(&self.news);
        attached::pump(attached, engine, news, writers).map_err(follow)?;
        self.attached = true;
        self.follow(id);
        Ok(())
    }
}
