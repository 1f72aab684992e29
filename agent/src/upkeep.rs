//! Attached machines are cleaned by themselves: after a run there that is over and at home, and when
//! an agent that starts finds runs on them. A machine that is not used is not logged in to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use runner::compute_target::ComputeTarget as _;
use runner::remote::message::{Cleaned, Cleaning};
use runner::run_id::RunId;
use tracing::{info, warn};

use crate::agent::Agent;
use crate::run::status::RunStatus;
use crate::store::{RunRow, StoreError};
use crate::targets::{Attached, Kept, RegistryError};
use crate::task;

/// How long a machine is left alone that was cleaned, or could not be.
const EVERY: SignedDuration = SignedDuration::from_hours(1);

/// What stays on attached machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UpkeepPolicy {
    /// How long runs stay that nobody came back for, and snapshots that no run needs.
    pub(crate) keep_runs: Duration,
    /// How many bytes objects and environments may take.
    pub(crate) max_bytes: u64,
}

impl Default for UpkeepPolicy {
    fn default() -> Self {
        Self { keep_runs: Duration::from_secs(7 * 24 * 60 * 60), max_bytes: 50 << 30 }
    }
}

/// Why a machine was not cleaned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotCleaned {
    /// The machine, or the way there.
    #[error(transparent)]
    Target(#[from] RegistryError),
    /// Nobody knows which runs have to stay.
    #[error(transparent)]
    Records(#[from] StoreError),
}

/// Cleans an attached machine, where runs of ours that are not over stay however old they
/// are.
///
/// # Errors
///
/// [`NotCleaned`].
pub(crate) async fn clean(
    agent: &Arc<Agent>,
    target: Arc<Attached>,
    wanted: Cleaning,
) -> Result<Cleaned, NotCleaned> {
    let keep = on_machine(target.name(), &agent.store.unfinished().await?);
    let (cleaning, name) = (Arc::clone(agent), target.name().to_owned());
    let dry_run = wanted.dry_run;
    let wanted = Cleaning { keep, ..wanted };
    let cleaned = task::blocking(move || cleaning.targets.clean(&target, wanted)).await?;
    info!(target = name, ?cleaned, dry_run, "Cleaned an attached machine.");
    Ok(cleaned)
}

/// Cleans the machine `name` as the settings say, if it is attached and that is due.
pub(crate) async fn clean_if_due(agent: &Arc<Agent>, name: &str) {
    let now = Timestamp::now();
    let Some(target) = agent.targets.attached(name).filter(|target| is_due(target, now)) else {
        return;
    };
    target.set_tried_cleaning(now);
    let UpkeepPolicy { keep_runs, max_bytes } = agent.upkeep;
    let wanted = Cleaning {
        runs_older_seconds: keep_runs.as_secs(),
        max_bytes: Some(max_bytes),
        ..Cleaning::default()
    };
    if let Err(error) = clean(agent, target, wanted).await {
        let error = anyhow::Error::from(error);
        warn!(target = name, "Could not clean an attached machine: {error:#}");
    }
}

/// Cleans the machines that an earlier agent left runs on, if that is due.
pub(crate) async fn clean_those_in_use(agent: Arc<Agent>) {
    match agent.store.unfinished().await {
        Ok(unfinished) => {
            let names =
                unfinished.iter().filter(|row| is_there(row)).map(|row| &row.request.target);
            for name in names.collect::<BTreeSet<_>>() {
                clean_if_due(&agent, name).await;
            }
        }
        Err(error) => warn!(%error, "Could not look for machines to clean."),
    }
}

/// Says whether a run may have something on its target that is not at home.
fn is_there(row: &RunRow) -> bool {
    !matches!(row.status, RunStatus::NotStarted | RunStatus::Queued) && !row.status.is_ended()
}

fn on_machine(name: &str, rows: &[RunRow]) -> BTreeSet<RunId> {
    let there = rows.iter().filter(|row| row.request.target == name && is_there(row));
    there.map(|row| row.id.clone()).collect()
}

/// What was attached just now needs no cleaning.
fn is_due(target: &Attached, now: Timestamp) -> bool {
    let Kept { spec, cleaned, .. } = target.kept();
    let cleaned = cleaned.map(|last| last.time_utc);
    let all = [Some(spec.attached_time_utc), cleaned, target.tried_cleaning()];
    // A clock that was set back must not keep it from being cleaned.
    all.into_iter().flatten().all(|last| now < last || now.duration_since(last) >= EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{Parts, Policies};
    use crate::queue::of_this_machine;
    use crate::run::status::RunEvent;
    use crate::store::Change;
    use crate::store::tests::new_run;
    use crate::targets::tests::{ROOT, World, asked, of_world};
    use crate::workspace::Workspace;

    /// An agent with a made-up machine `gpu-vm`, attached `hours` ago.
    async fn agent(home: &std::path::Path, world: &World, hours: i64) -> Arc<Agent> {
        let workspace = Workspace::at(home.join("home"));
        workspace.create().unwrap();
        world.put("one", "machine 1", "key 1");
        of_world(world, &workspace).attach(&asked("gpu-vm", "one"), ROOT).unwrap();
        let kept = workspace.targets().join("gpu-vm.json");
        let mut record: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&kept).unwrap()).unwrap();
        let attached = Timestamp::now() - SignedDuration::from_hours(hours);
        record["attachedTimeUtc"] = attached.to_string().into();
        std::fs::write(&kept, record.to_string()).unwrap();
        let program = "/bin/false".into();
        let targets = of_world(world, &workspace);
        let parts = Parts {
            workspace,
            program,
            capacity: of_this_machine(Some(1), 2),
            policies: Policies::default(),
        };
        let (mut agent, _inbox) = Agent::open(parts).unwrap();
        Arc::get_mut(&mut agent).unwrap().targets = targets;
        agent
    }

    async fn submitted(agent: &Agent, number: u32, target: &str, past: &[RunEvent]) -> RunId {
        let mut run = new_run("exp", number);
        run.request.target = target.to_owned();
        let id = run.id.clone();
        agent.store.submit(run).await.unwrap();
        for event in past {
            agent.record(&id, Change::now(*event)).await.unwrap();
        }
        id
    }

    #[tokio::test]
    async fn a_machine_is_cleaned_once_an_hour_and_what_is_not_at_home_stays() {
        let (home, world) = (tempfile::tempdir().unwrap(), World::default());
        let agent = agent(home.path(), &world, 2).await;
        submitted(&agent, 1, "gpu-vm", &[]).await;
        let on = submitted(&agent, 2, "gpu-vm", &[RunEvent::PlaceGiven]).await;
        submitted(&agent, 3, "local", &[RunEvent::PlaceGiven]).await;
        let over = [RunEvent::PlaceGiven, RunEvent::NeverStarted];
        submitted(&agent, 4, "gpu-vm", &over).await;

        for _ in 0..2 {
            clean_if_due(&agent, "gpu-vm").await;
        }
        clean_if_due(&agent, "local").await;
        clean_if_due(&agent, "gone").await;

        let wanted = Cleaning {
            runs_older_seconds: 7 * 24 * 60 * 60,
            keep: [on].into(),
            max_bytes: Some(50 << 30),
            dry_run: false,
        };
        assert_eq!(world.state().cleaned, std::slice::from_ref(&wanted));
        // An agent that comes after this one knows of it.
        let targets = of_world(&world, &agent.workspace);
        let kept = targets.attached("gpu-vm").unwrap().kept().cleaned.unwrap();
        assert_eq!(kept.cleaned.runs, 1);
        let target = agent.targets.attached("gpu-vm").unwrap();
        let later = kept.time_utc + SignedDuration::from_mins(61);
        assert!(!is_due(&target, kept.time_utc + SignedDuration::from_mins(59)));
        assert!(is_due(&target, later));
        assert!(is_due(&target, kept.time_utc - SignedDuration::from_hours(24 * 365)));

        let asked = Cleaning { dry_run: true, ..Cleaning::default() };
        clean(&agent, Arc::clone(&target), asked).await.unwrap();
        assert_eq!(world.state().cleaned.last().unwrap().keep, wanted.keep);
        assert_eq!(target.kept().cleaned, Some(kept), "nothing was removed");
    }

    #[tokio::test]
    async fn an_agent_that_starts_cleans_where_its_runs_are_and_nowhere_else() {
        let (home, world) = (tempfile::tempdir().unwrap(), World::default());
        let agent = agent(home.path(), &world, 2).await;

        submitted(&agent, 1, "gpu-vm", &[]).await;
        clean_those_in_use(Arc::clone(&agent)).await;
        assert!(world.state().cleaned.is_empty(), "nobody logs in for what only waits");
        submitted(&agent, 2, "gpu-vm", &[RunEvent::PlaceGiven]).await;
        clean_those_in_use(Arc::clone(&agent)).await;

        assert_eq!(world.state().cleaned.len(), 1);
    }

    #[tokio::test]
    async fn a_machine_that_cannot_be_cleaned_is_left_alone_for_an_hour() {
        let (home, world) = (tempfile::tempdir().unwrap(), World::default());
        let agent = agent(home.path(), &world, 2).await;
        let machine = world.state().machines.remove("one").unwrap();

        clean_if_due(&agent, "gpu-vm").await;
        world.state().machines.insert("one".to_owned(), machine);
        clean_if_due(&agent, "gpu-vm").await;

        assert!(world.state().cleaned.is_empty());
        assert_eq!(agent.targets.attached("gpu-vm").unwrap().kept().cleaned, None);
    }

    #[tokio::test]
    async fn a_machine_that_was_just_attached_needs_no_cleaning() {
        let (home, world) = (tempfile::tempdir().unwrap(), World::default());
        let agent = agent(home.path(), &world, 0).await;
        clean_if_due(&agent, "gpu-vm").await;
        assert!(world.state().cleaned.is_empty());
    }
}
