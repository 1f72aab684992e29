//! Finds every run again after the agent was away.
//!
//! What to do with a run is decided by a pure function of what the records and the run directory
//! say. Nothing is started twice: the supervisor itself sees to that.

use std::collections::HashSet;

use runner::compute_target::SupervisorState;
use runner::run_directory::RunDirectory;
use tracing::{Instrument, info, info_span, warn};

use crate::agent::Agent;
use crate::run::driver::Begin;
use crate::run::status::{RunEvent, RunStatus};
use crate::run::workplace;
use crate::store::{Change, RunRow, StoreError};
use crate::workspace::Workspace;

/// What to do with a run that is not over.
#[derive(Clone, Debug, PartialEq)]
enum Plan {
    /// It waits.
    Enqueue,
    /// Its place is lost: it waits again.
    Requeue,
    /// It goes on from there.
    Resume(Begin),
}

/// What is known of where a run's supervisor stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen<'a> {
    /// The target says so.
    At(&'a SupervisorState),
    /// It could not say.
    Unknown,
    /// It is another machine, which is asked later, however long it takes to reach it.
    Elsewhere,
}

/// Decides what to do with a run that stands at `status`. `same_boot` says whether the machine has
/// not been restarted since the run was given its place.
fn plan(status: RunStatus, seen: Seen<'_>, same_boot: bool) -> Plan {
    use RunStatus as S;
    use Seen::{At, Elsewhere};
    use SupervisorState as V;
    let follow = Plan::Resume(Begin::Follow);
    match (status, seen) {
        (S::NotStarted | S::Queued, _) => Plan::Enqueue,
        (S::Preparing, _) => Plan::Requeue,
        // Nothing was started: what was prepared is good as long as the machine was up, since
        // nothing of it was written through to the disk.
        (S::Starting, At(V::NotStarted)) if same_boot => Plan::Resume(Begin::Launch),
        (S::Starting, At(V::NotStarted)) => Plan::Requeue,
        // A start can be asked for again: who has started it says so.
        (S::Starting, Elsewhere) => Plan::Resume(Begin::Launch),
        (S::CancelRequested, At(V::NotStarted)) => Plan::Resume(Begin::Cancelled),
        (S::Starting | S::Running | S::CancelRequested | S::Finalizing, _) => follow,
        // Not asked for: these are over.
        (S::Completed | S::Failed | S::Canceled, _) => follow,
    }
}

/// Takes up every run that is not over, in the order in which they were accepted.
///
/// # Errors
///
/// The records cannot be read or changed.
pub(crate) async fn recover(agent: &Agent) -> Result<(), StoreError> {
    let unfinished = agent.store.unfinished().await?;
    let count = unfinished.len();
    let known: HashSet<&str> = unfinished.iter().map(|row| row.id.as_str()).collect();
    forget_secrets(&agent.workspace, &known);
    for row in unfinished {
        let span = info_span!("run", run = %row.id);
        take_up(agent, &row).instrument(span).await?;
    }
    if count > 0 {
        agent.statistics.recovered(count);
        info!(count, "Took up the runs that were not over.");
    }
    Ok(())
}

/// Removes secrets from the directories of all runs but those that are not over: an agent may have
/// gone between an end or an acceptance and its records. Nobody hands in runs yet.
fn forget_secrets(workspace: &Workspace, unfinished: &HashSet<&str>) {
    let entries = match std::fs::read_dir(workspace.runs()) {
        Ok(entries) => entries,
        Err(error) => return warn!(%error, "Could not look for the secrets of runs that are over."),
    };
    for entry in entries.flatten() {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_directory && entry.file_name().to_str().is_none_or(|name| !unfinished.contains(name))
        {
            workplace::forget_secrets(&RunDirectory::new(entry.path()));
        }
    }
}

async fn take_up(agent: &Agent, row: &RunRow) -> Result<(), StoreError> {
    let directory = agent.workspace.run_directory(&row.id);
    let target = agent.targets.of_run(&row.request.target);
    let is_elsewhere = agent.targets.attached(&row.request.target).is_some();
    let supervisor = (!is_elsewhere).then(|| target.probe(&directory));
    let seen = match &supervisor {
        None => Seen::Elsewhere,
        Some(Ok(state)) => Seen::At(state),
        Some(Err(error)) => {
            warn!(%error, "Could not ask where a run stands.");
            Seen::Unknown
        }
    };
    let same_boot = row.boot_id.as_ref() == Some(&agent.boot_id);
    let plan = plan(row.status, seen, same_boot);
    info!(status = %row.status, ?plan, "Found a run.");
    agent.live.publish(&row.id, row.status);
    match plan {
        Plan::Enqueue => agent.scheduler.enqueue(row),
        Plan::Requeue => {
            agent.record(&row.id, Change::now(RunEvent::PlaceTakenBack)).await?;
            agent.scheduler.enqueue(row);
        }
        Plan::Resume(begin) => {
            agent.scheduler.resume(row.clone(), begin);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use runner::compute_target::LostReason;
    use runner::exit_record::{ExitReason, ExitRecord};
    use runner::process_identity::ProcessIdentity;

    use super::*;

    #[test]
    fn only_runs_that_are_not_over_keep_their_secrets() {
        let home = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(home.path().join("home"));
        workspace.create().unwrap();
        let secrets = |name: &str| {
            let directory = RunDirectory::new(workspace.runs().join(name));
            [directory.secrets_json(), directory.registry_json()]
        };
        for name in ["over_1_00000001", "waits_1_00000002"] {
            std::fs::create_dir(workspace.runs().join(name)).unwrap();
            secrets(name).iter().for_each(|file| std::fs::write(file, "{}").unwrap());
        }
        std::fs::write(workspace.runs().join("not a directory"), "").unwrap();

        forget_secrets(&workspace, &HashSet::from(["waits_1_00000002"]));

        assert!(secrets("over_1_00000001").iter().all(|file| !file.exists()));
        assert!(secrets("waits_1_00000002").iter().all(|file| file.exists()));
    }

    #[test]
    fn every_state_a_run_can_be_found_in_has_a_plan() {
        let identity = ProcessIdentity { boot_id: String::new(), pid: 1, start_time: 1 };
        let ended = ExitRecord::new(ExitReason::Completed, "", Timestamp::UNIX_EPOCH);
        let running = SupervisorState::Running(identity);
        let ended = SupervisorState::Ended(ended);
        let lost = SupervisorState::Lost(LostReason::SupervisorGone);
        let states = [
            ("unknown", Seen::Unknown),
            ("elsewhere", Seen::Elsewhere),
            ("not started", Seen::At(&SupervisorState::NotStarted)),
            ("running", Seen::At(&running)),
            ("ended", Seen::At(&ended)),
            ("lost", Seen::At(&lost)),
        ];
        let mut table = String::new();
        for status in RunStatus::ALL.into_iter().filter(|status| !status.is_ended()) {
            for (name, state) in &states {
                let same = plan(status, *state, true);
                let other = plan(status, *state, false);
                let rebooted =
                    if same == other { String::new() } else { format!("; rebooted: {other:?}") };
                table += &format!("{status:16}{name:12}{same:?}{rebooted}\n");
            }
        }

        insta::assert_snapshot!(table, @r#"
        NotStarted      unknown     Enqueue
        NotStarted      elsewhere   Enqueue
        NotStarted      not started Enqueue
        NotStarted      running     Enqueue
        NotStarted      ended       Enqueue
        NotStarted      lost        Enqueue
        Queued          unknown     Enqueue
        Queued          elsewhere   Enqueue
        Queued          not started Enqueue
        Queued          running     Enqueue
        Queued          ended       Enqueue
        Queued          lost        Enqueue
        Preparing       unknown     Requeue
        Preparing       elsewhere   Requeue
        Preparing       not started Requeue
        Preparing       running     Requeue
        Preparing       ended       Requeue
        Preparing       lost        Requeue
        Starting        unknown     Resume(Follow)
        Starting        elsewhere   Resume(Launch)
        Starting        not started Resume(Launch); rebooted: Requeue
        Starting        running     Resume(Follow)
        Starting        ended       Resume(Follow)
        Starting        lost        Resume(Follow)
        Running         unknown     Resume(Follow)
        Running         elsewhere   Resume(Follow)
        Running         not started Resume(Follow)
        Running         running     Resume(Follow)
        Running         ended       Resume(Follow)
        Running         lost        Resume(Follow)
        Finalizing      unknown     Resume(Follow)
        Finalizing      elsewhere   Resume(Follow)
        Finalizing      not started Resume(Follow)
        Finalizing      running     Resume(Follow)
        Finalizing      ended       Resume(Follow)
        Finalizing      lost        Resume(Follow)
        CancelRequested unknown     Resume(Follow)
        CancelRequested elsewhere   Resume(Follow)
        CancelRequested not started Resume(Cancelled)
        CancelRequested running     Resume(Follow)
        CancelRequested ended       Resume(Follow)
        CancelRequested lost        Resume(Follow)
        "#);
    }
}
