//! The outer process: waits for the supervisor and takes its place at the end if it is killed.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use images::host::HostVariables;
use jiff::Timestamp;
use nix::sys::signal::Signal as Signals;
use rustix::process::{Pid, Signal, kill_process};
use snapshots::path_error::PathError;

use crate::exit_record::{ExitReason, ExitRecord};
use crate::process_identity::ProcessIdentity;
use crate::run_directory::RunDirectory;
use crate::sandbox::cgroup::{self, Confinement};
use crate::supervisor::claim::SupervisorRecord;
use crate::supervisor::event_loop::handled_signals;
use crate::supervisor::events::{self, Event, EventLog, TimedEvent};
use crate::supervisor::process_tree::{self, Reaper};
use crate::supervisor::verdict::{ScriptStatus, signal_name};
use crate::supervisor::{DISK_FULL, LostError, OUR_FAULT, complain, end_container};

/// How long an engine may be away before somebody else has to end a container.
const ENGINE_PATIENCE: Duration = Duration::from_secs(10);

/// Waits until the supervisor with the number `child` has ended. If it did so without ending
/// the run, ends it in its place.
pub(crate) fn watch(run: &RunDirectory, guard: &ProcessIdentity, child: i32) -> ExitCode {
    let status = wait_for(child);
    match finish(run, guard, status) {
        Ok(()) => match status {
            ScriptStatus::Code(code) => ExitCode::from(u8::try_from(code).unwrap_or(OUR_FAULT)),
            ScriptStatus::Signal(_) => ExitCode::from(OUR_FAULT),
        },
        Err(error) => {
            complain(&error);
            ExitCode::from(OUR_FAULT)
        }
    }
}

/// Waits for the child and passes on what is meant for it.
fn wait_for(child: i32) -> ScriptStatus {
    let mut reaper = Reaper::new(child);
    let signals = handled_signals();
    loop {
        let children_left = reaper.reap();
        if let Some(status) = reaper.status {
            return status;
        }
        assert!(children_left, "the supervisor is our child until it is reaped");
        if let (Ok(signal @ (Signals::SIGTERM | Signals::SIGINT)), Some(child)) =
            (signals.wait(), Pid::from_raw(child))
        {
            let signal = if signal == Signals::SIGTERM { Signal::TERM } else { Signal::INT };
            // It may have ended meanwhile, which the next round sees.
            let _gone = kill_process(child, signal);
        }
    }
}

/// Ends what is left and, unless the run has an end, writes it down.
fn finish(
    run: &RunDirectory,
    guard: &ProcessIdentity,
    status: ScriptStatus,
) -> Result<(), PathError> {
    let end = process_tree::end_descendants(&mut Reaper::new(0));
    if ExitRecord::read(run)?.is_some() {
        return Ok(());
    }
    let ours = match SupervisorRecord::read(run)? {
        Some(record) => record.guard == *guard,
        // Killed before it could claim the run.
        None => SupervisorRecord { version: 1, guard: guard.clone(), supervisor: guard.clone() }
            .claim(run)?,
    };
    if !ours {
        return Ok(());
    }
    // Not before it is known that the run is ours: one that came too late ends nobody's container.
    if let Err(error) = end_container_soon(run) {
        // The run is not over while its container may be on: it stays lost until it is settled.
        complain(&error);
        return Ok(());
    }
    let (reason, message) = why(status);
    let end = end.and(cgroup::end_lost(run)?);
    let mut record = ExitRecord::new(reason, message, Timestamp::now());
    record.leftover_processes = end.killed;
    close_lost_run(run, record)
}

/// Says why a run is over whose supervisor ended before it could.
fn why(status: ScriptStatus) -> (ExitReason, String) {
    match status {
        ScriptStatus::Signal(signal) => (
            ExitReason::SupervisorKilled,
            format!("the supervisor was killed by {}", signal_name(signal)),
        ),
        ScriptStatus::Code(code) if code == i32::from(DISK_FULL) => (
            ExitReason::DiskFull,
            "the disk was full for the records of the supervisor; supervisor.log says which"
                .to_owned(),
        ),
        ScriptStatus::Code(code) => (
            ExitReason::AgentFault,
            format!("the supervisor ended with code {code}; supervisor.log says why"),
        ),
    }
}

/// Ends the container of `run`, if it has one, and asks more than once.
fn end_container_soon(run: &RunDirectory) -> Result<(), LostError> {
    let variables = HostVariables::new(std::env::vars_os());
    let begun = Instant::now();
    loop {
        match end_container(run, &variables) {
            Err(LostError::Engine { .. }) if begun.elapsed() < ENGINE_PATIENCE => {
                thread::sleep(Duration::from_millis(250));
            }
            ended => return ended,
        }
    }
}

/// Records the end of a run whose supervisor could not: what is known of it goes into `record`.
pub(crate) fn close_lost_run(run: &RunDirectory, mut record: ExitRecord) -> Result<(), PathError> {
    run.forget_secrets()?;
    let past = events::read(run)?;
    record.started_time_utc =
        past.iter().find(|line| line.event.is_start()).map(|line: &TimedEvent| line.time_utc);
    record.confinement = past.iter().rev().find_map(|line| match &line.event {
        Event::Confined { holder, .. } => Some(Box::new(Confinement::by(*holder))),
        _ => None,
    });
    record.log_bytes = fs::metadata(run.std_log()).map_or(0, |data| data.len());
    let mut events = EventLog::open(run)?;
    events.say(Event::SupervisorLost { message: record.message.clone() });
    events.say(Event::Ended { reason: record.reason });
    remove_scratch(run);
    record.write(run)?;
    Ok(())
}

/// Removes what only a running script needs. Failing that is no reason to have no end.
fn remove_scratch(run: &RunDirectory) {
    let reserve: PathBuf = run.path().join(".reserve");
    for removed in [fs::remove_file(reserve), fs::remove_dir_all(run.temporary())] {
        if let Err(error) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            complain(&error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_fault_of_ours() {
        let reason = |status| why(status).0;
        assert_eq!(reason(ScriptStatus::Code(DISK_FULL.into())), ExitReason::DiskFull);
        assert_eq!(reason(ScriptStatus::Code(OUR_FAULT.into())), ExitReason::AgentFault);
        assert_eq!(reason(ScriptStatus::Signal(9)), ExitReason::SupervisorKilled);
    }
}
