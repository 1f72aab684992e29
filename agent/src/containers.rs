//! Containers that are left over: those of runs that are over, or that nobody knows.

use std::collections::HashSet;

use images::engine::{Engine, EngineError, OurContainer, RUN_LABEL};
use images::host::HostVariables;
use tracing::{info, warn};

use crate::agent::Agent;
use crate::store::StoreError;
use crate::task;

/// Which containers to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those of runs.
    OfRuns,
    /// Those that look at images and build them too. One that was just made and is not started yet
    /// looks like one that is left over: not while something is built.
    All,
}

/// Removes the containers that nothing needs and returns how many; with `dry_run`, only counts
/// them. Without an engine there are none.
///
/// # Errors
///
/// The records cannot be read.
pub(crate) async fn sweep(agent: &Agent, which: Which, dry_run: bool) -> Result<u64, StoreError> {
    let home = agent.workspace.label();
    // Before the records are read: a run is in them before its container is made.
    let found = task::blocking(move || connect()?.our_containers(&home)).await;
    let containers = match found {
        Ok(found) => found,
        Err(EngineError::NotFound { .. } | EngineError::NotPermitted { .. }) => return Ok(0),
        Err(error) => {
            warn!(%error, "Could not look for containers that are left over.");
            return Ok(0);
        }
    };
    let unfinished = agent.store.unfinished().await?;
    let unfinished: HashSet<_> = unfinished.iter().map(|row| row.id.as_str()).collect();
    let left_over = left_over(containers, which, &unfinished);
    if dry_run || left_over.is_empty() {
        return Ok(left_over.len() as u64);
    }
    Ok(task::blocking(move || remove(&left_over)).await)
}

/// Connects to the engine that this process's variables name.
///
/// # Errors
///
/// There is none, or it is not for us.
pub(crate) fn connect() -> Result<Engine, EngineError> {
    Engine::connect(&HostVariables::new(std::env::vars_os()))
}

/// Returns the containers that nothing needs: those of runs that are not among `unfinished`, and
/// those of no run, which look at images and build them, once they have ended.
fn left_over(
    containers: Vec<OurContainer>,
    which: Which,
    unfinished: &HashSet<&str>,
) -> Vec<OurContainer> {
    let needed = |container: &OurContainer| match container.labels.get(RUN_LABEL) {
        Some(run) => unfinished.contains(run.as_str()),
        None => container.running || which == Which::OfRuns,
    };
    containers.into_iter().filter(|container| !needed(container)).collect()
}

/// Removes them and returns how many could be. The connection is made here: it has a runtime of
/// its own, which asynchronous code must not drop.
fn remove(containers: &[OurContainer]) -> u64 {
    let engine = match connect() {
        Ok(engine) => engine,
        Err(error) => {
            warn!(%error, "Could not remove containers that are left over.");
            return 0;
        }
    };
    let mut removed = 0;
    for container in containers {
        match engine.remove_container(&container.id) {
            Ok(()) => {
                info!(name = container.name, "Removed a container that was left over.");
                removed += 1;
            }
            Err(error) => {
                warn!(name = container.name, %error, "Could not remove a container.");
            }
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn only_what_nothing_needs_goes() {
        let container = |name: &str, run: Option<&str>, running| OurContainer {
            id: name.to_owned(),
            name: name.to_owned(),
            labels: run
                .map(|run| (RUN_LABEL.to_owned(), run.to_owned()))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            running,
        };
        let containers = vec![
            container("on", Some("exp_1_00000001"), true),
            container("made", Some("exp_1_00000001"), false),
            container("over", Some("exp_1_00000002"), false),
            container("forgotten", Some("exp_1_00000003"), true),
            container("looks", None, true),
            container("looked", None, false),
        ];

        let gone = |which| {
            let gone = left_over(containers.clone(), which, &HashSet::from(["exp_1_00000001"]));
            gone.into_iter().map(|container| container.name).collect::<Vec<_>>()
        };
        assert_eq!(gone(Which::All), ["over", "forgotten", "looked"]);
        assert_eq!(gone(Which::OfRuns), ["over", "forgotten"]);
    }
}
