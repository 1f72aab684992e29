//! Containers that are left over: those of runs that are over, or that nobody knows.

use std::collections::HashSet;
use std::sync::OnceLock;

use images::engine::{Engine, EngineError, EnginePlace, OurContainer, RUN_LABEL};
use images::host::HostVariables;
use tracing::{info, warn};

use crate::agent::Agent;
use crate::store::StoreError;
use crate::task;

/// Removes the containers that nothing needs and returns how many; with `dry_run`, only counts
/// them. Without an engine there are none.
///
/// # Errors
///
/// The records cannot be read.
pub(crate) async fn sweep(agent: &Agent, dry_run: bool) -> Result<u64, StoreError> {
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
    let left_over = left_over(containers, &unfinished);
    if dry_run || left_over.is_empty() {
        return Ok(left_over.len() as u64);
    }
    Ok(task::blocking(move || remove(&left_over)).await)
}

/// Returns this process's variables. The engine they lead to stays the same for as long as it
/// lives: a container is not to be looked for elsewhere because another docker context became the
/// current one meanwhile.
pub(crate) fn host() -> &'static HostVariables {
    static HOST: OnceLock<HostVariables> = OnceLock::new();
    HOST.get_or_init(|| EnginePlace::pinned(&HostVariables::new(std::env::vars_os())))
}

/// Connects to the engine that this process's variables, or `docker`'s own files, name.
///
/// # Errors
///
/// There is none, or it is not for us.
pub(crate) fn connect() -> Result<Engine, EngineError> {
    Engine::connect(host())
}

/// Returns the containers that nothing needs: those of runs that are not among `unfinished`, and
/// those of no run whose maker is gone. What somebody starts in an image that was built here has
/// its labels, and is none of ours.
fn left_over(containers: Vec<OurContainer>, unfinished: &HashSet<&str>) -> Vec<OurContainer> {
    let goes = |container: &OurContainer| match container.labels.get(RUN_LABEL) {
        Some(run) => !unfinished.contains(run.as_str()),
        None => container.is_abandoned(),
    };
    containers.into_iter().filter(goes).collect()
}

/// Removes them and returns how many could be.
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

    use images::engine::MAKER_LABEL;
    use runner::process_identity;

    use super::*;

    fn container(name: &str, label: Option<(&str, &str)>, running: bool) -> OurContainer {
        let label = label.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let labels = label.into_iter().collect::<BTreeMap<_, _>>();
        OurContainer { id: name.to_owned(), name: name.to_owned(), labels, running }
    }

    #[test]
    fn only_what_nothing_needs_goes() {
        // Of a boot that is over.
        let gone = Some((MAKER_LABEL, "before pid:[1] 7 1"));
        let elsewhere = format!("{} pid:[1] 7 1", process_identity::boot_id().unwrap());
        let containers = vec![
            container("on", Some((RUN_LABEL, "exp_1_00000001")), true),
            container("made", Some((RUN_LABEL, "exp_1_00000001")), false),
            container("over", Some((RUN_LABEL, "exp_1_00000002")), false),
            container("forgotten", Some((RUN_LABEL, "exp_1_00000003")), true),
            container("looks for nobody", gone, true),
            container("made for nobody", gone, false),
            container("may be waited for", Some((MAKER_LABEL, &elsewhere)), false),
            container("somebody's in an image of ours", None, false),
        ];

        let gone = left_over(containers, &HashSet::from(["exp_1_00000001"]));

        let gone: Vec<_> = gone.iter().map(|container| container.name.as_str()).collect();
        assert_eq!(gone, ["over", "forgotten", "looks for nobody", "made for nobody"]);
    }
}
