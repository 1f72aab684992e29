//! Ends the container of a run whose supervisor is gone.

use images::engine::{Engine, EngineError};
use images::host::HostVariables;
use snapshots::path_error::PathError;

use super::{pipes, secret_files};
use crate::durable_file;
use crate::launch::Launch;
use crate::run_directory::RunDirectory;
use crate::supervisor::events::{self, Event};

/// Why a container may still be there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LostError {
    #[error("the container {name:?} cannot be removed")]
    Engine { name: String, source: EngineError },
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Kills and removes the container of `run`, if it has one, with its pipes and secrets.
pub(crate) fn end_container(
    run: &RunDirectory,
    variables: &HostVariables,
) -> Result<(), LostError> {
    let launch: Option<Launch> = durable_file::read_json(&run.launch_json())?;
    let Some((id, container)) = launch.and_then(|launch| Some((launch.run_id, launch.container?)))
    else {
        return Ok(());
    };
    // First what needs no engine.
    secret_files::remove_of(&id, variables)?;
    pipes::remove_of(run)?;
    match Engine::connect(variables).and_then(|engine| engine.remove_container(&container.name)) {
        Err(EngineError::NotFound { .. } | EngineError::NotPermitted { .. })
            if !was_created(run)? =>
        {
            Ok(())
        }
        Err(source) => Err(LostError::Engine { name: container.name, source }),
        Ok(()) => Ok(()),
    }
}

fn was_created(run: &RunDirectory) -> Result<bool, PathError> {
    let past = events::read(run)?;
    Ok(past.iter().any(|line| matches!(line.event, Event::ContainerCreated { .. })))
}
