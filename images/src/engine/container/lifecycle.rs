//! Containers: made, started, awaited, removed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::TryStreamExt;

use super::request::body;
use super::{ContainerSpec, ContainerState, CreatedContainer, OurContainer};
use crate::engine::{CALL_LIMIT, Engine, EngineError, HOME_LABEL, LABEL, RUN_LABEL, answer};

/// How long something may be in between: a name taken by what is not there yet, or not any more.
const BETWEEN_LIMIT: Duration = Duration::from_secs(30);

/// How often it is looked at meanwhile: nothing announces it.
const BETWEEN_TICK: Duration = Duration::from_millis(50);

impl Engine {
    /// Makes a container called `name`. One of that name with the same [`RUN_LABEL`] is ours from
    /// an earlier try, and is returned.
    ///
    /// The init process is left out where the engine has none: see
    /// [`EngineFacts::init`](crate::engine::EngineFacts::init).
    ///
    /// # Errors
    ///
    /// The engine refuses.
    pub fn create_container(
        &self,
        name: &str,
        spec: &ContainerSpec,
    ) -> Result<CreatedContainer, EngineError> {
        self.runtime.block_on(self.create(Some(name), spec))
    }

    /// Starts it. One that is on is what was wanted.
    ///
    /// With an init process, what is not in the image shows otherwise: the container ends with 127.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoProgram`] where what is to be started is not in the image; others.
    pub fn start_container(&self, id: &str) -> Result<(), EngineError> {
        self.runtime.block_on(self.start(id))
    }

    /// Sends it a signal, as `TERM`. One that is not on is what was wanted.
    ///
    /// # Errors
    ///
    /// The engine does not answer.
    pub fn signal_container(&self, id: &str, signal: &str) -> Result<(), EngineError> {
        plain(id)?;
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        match self.call(self.docker.kill_container(id, Some(options))) {
            // Not there, or not on.
            Err(EngineError::Refused { status: 404 | 409, .. }) => Ok(()),
            other => other,
        }
    }

    /// Says where a container, by name or id, stands. `None`: there is none.
    ///
    /// # Errors
    ///
    /// The engine does not answer.
    pub fn container(&self, name: &str) -> Result<Option<ContainerState>, EngineError> {
        self.runtime.block_on(self.inspect(name))
    }

    /// Waits until it is not on any more, or is gone. Blocks for as long as that takes.
    ///
    /// # Errors
    ///
    /// The engine went away; the container may be on.
    pub fn wait_container(&self, id: &str) -> Result<(), EngineError> {
        self.runtime.block_on(self.wait(id))
    }

    /// Kills and removes it with its anonymous volumes. One that is not there is what was wanted.
    ///
    /// # Errors
    ///
    /// The engine does not answer or refuses.
    pub fn remove_container(&self, id: &str) -> Result<(), EngineError> {
        self.runtime.block_on(self.remove(id))
    }

    /// Lists the containers with our labels, made by the agent of the state directory `home`.
    ///
    /// # Errors
    ///
    /// The engine does not answer.
    pub fn our_containers(&self, home: &str) -> Result<Vec<OurContainer>, EngineError> {
        let labels = vec![format!("{LABEL}=1"), format!("{HOME_LABEL}={home}")];
        let filters = HashMap::from([("label".to_owned(), labels)]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let listed = self.call(self.docker.list_containers(Some(options)))?;
        Ok(listed.into_iter().map(ours).collect())
    }

    pub(super) async fn create(
        &self,
        name: Option<&str>,
        spec: &ContainerSpec,
    ) -> Result<CreatedContainer, EngineError> {
        let mut options = CreateContainerOptionsBuilder::default();
        if let Some(name) = name {
            plain(name)?;
            options = options.name(name);
        }
        if let Some(platform) = &spec.platform {
            options = options.platform(platform);
        }
        let options = options.build();
        let until = Instant::now() + BETWEEN_LIMIT;
        loop {
            let body = body(spec, self.facts.init);
            let answer = self.docker.create_container(Some(options.clone()), body);
            let error = match self.within(CALL_LIMIT, answer).await {
                Ok(made) => {
                    let (id, warnings) = (made.id, made.warnings);
                    return Ok(CreatedContainer { id, found: false, warnings });
                }
                Err(error) => error,
            };
            match (&error, name) {
                (EngineError::Refused { status: 409, .. }, Some(name)) => {
                    match self.inspect(name).await? {
                        // Being made or being removed by another call.
                        None if Instant::now() < until => {}
                        Some(state) if state.status == "removing" && Instant::now() < until => {}
                        Some(state) if is_same(&state, spec) => {
                            let (id, warnings) = (state.id, Vec::new());
                            return Ok(CreatedContainer { id, found: true, warnings });
                        }
                        _ => return Err(error),
                    }
                }
                _ => return Err(answer::create(&spec.image, error)),
            }
            tokio::time::sleep(BETWEEN_TICK).await;
        }
    }

    pub(super) async fn start(&self, id: &str) -> Result<(), EngineError> {
        plain(id)?;
        let answer = self.docker.start_container(id, None);
        self.within(CALL_LIMIT, answer).await.map_err(answer::start)
    }

    pub(super) async fn inspect(&self, name: &str) -> Result<Option<ContainerState>, EngineError> {
        plain(name)?;
        let answer = self.docker.inspect_container(name, None::<InspectContainerOptions>);
        match self.within(CALL_LIMIT, answer).await {
            Ok(inspected) => Ok(Some(state(inspected))),
            Err(EngineError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn wait(&self, id: &str) -> Result<(), EngineError> {
        plain(id)?;
        loop {
            let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
            let answers = self.docker.wait_container(id, Some(options));
            let waited = answers.try_for_each(|_| async { Ok(()) }).await;
            // Whatever came of that, a container's state is what counts.
            match self.inspect(id).await? {
                Some(state) if state.running => {}
                _ => return Ok(()),
            }
            // An exit code other than 0 is an error to bollard. Others come from an engine that
            // ended a request early, and may do so again at once.
            if !matches!(waited, Ok(()) | Err(Error::DockerContainerWaitError { .. })) {
                tokio::time::sleep(BETWEEN_TICK).await;
            }
        }
    }

    pub(super) async fn remove(&self, id: &str) -> Result<(), EngineError> {
        plain(id)?;
        let until = Instant::now() + BETWEEN_LIMIT;
        loop {
            let options = RemoveContainerOptionsBuilder::default().v(true).force(true).build();
            let answer = self.docker.remove_container(id, Some(options));
            match self.within(CALL_LIMIT, answer).await {
                Ok(()) | Err(EngineError::Refused { status: 404, .. }) => return Ok(()),
                // Another call is at it, or its file system is busy for a moment.
                Err(EngineError::Refused { status: 409 | 500, .. }) if Instant::now() < until => {
                    tokio::time::sleep(BETWEEN_TICK).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Refuses what would be read as another address of the API.
pub(super) fn plain(name: &str) -> Result<(), EngineError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.bytes().all(is_plain)
    {
        return Ok(());
    }
    let message = format!("{name:?} is no name or id of a container");
    Err(EngineError::Refused { status: 400, message })
}

fn is_same(state: &ContainerState, spec: &ContainerSpec) -> bool {
    let run = spec.labels.get(RUN_LABEL);
    run.is_some() && state.labels.get(RUN_LABEL) == run
}

fn state(inspected: ContainerInspectResponse) -> ContainerState {
    let state = inspected.state.unwrap_or_default();
    let labels = inspected.config.and_then(|config| config.labels).unwrap_or_default();
    ContainerState {
        id: inspected.id.unwrap_or_default(),
        status: state.status.map(|status| status.to_string()).unwrap_or_default(),
        running: state.running.unwrap_or_default(),
        exit_code: state.exit_code.unwrap_or_default(),
        oom_killed: state.oom_killed.unwrap_or_default(),
        error: state.error.unwrap_or_default(),
        pid: state.pid.and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default(),
        started_at: state.started_at.unwrap_or_default(),
        finished_at: state.finished_at.unwrap_or_default(),
        labels: labels.into_iter().collect(),
    }
}

fn ours(summary: ContainerSummary) -> OurContainer {
    let names = summary.names.unwrap_or_default();
    OurContainer {
        id: summary.id.unwrap_or_default(),
        name: names.first().map(|name| name.trim_start_matches('/').to_owned()).unwrap_or_default(),
        labels: summary.labels.unwrap_or_default().into_iter().collect(),
        running: matches!(
            summary.state,
            Some(
                ContainerSummaryStateEnum::RUNNING
                    | ContainerSummaryStateEnum::PAUSED
                    | ContainerSummaryStateEnum::RESTARTING
            )
        ),
    }
}

#[cfg(test)]
mod tests;
