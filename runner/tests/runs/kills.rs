//! Whoever kills whom: a run has one end, and no process of it stays.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use runner::compute_target::{LostReason, SupervisorState, TargetError};
use runner::exit_record::ExitReason;
use runner::supervisor::events::Event;

use crate::support::{PATIENCE, TestRun, kill, supervise_program, wait_until};

/// A script with a child of its own session and a daemon with neither session nor environment
/// of the run.
const STUBBORN: &str = "
import os, signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(['setsid', 'sleep', '1000'])
subprocess.Popen(['sh', '-c', 'sleep 1000 & wait'], env={})
subprocess.Popen(['setsid', 'sh', '-c', 'sleep 1000 & sleep 1000'])
time.sleep(0.1)
print('ready')
time.sleep(1000)
";

fn running(script: &str) -> TestRun {
    let run = TestRun::of(script);
    run.start();
    run.wait_for_output("ready\n");
    run
}

#[test]
fn a_killed_supervisor_is_reported_and_leaves_nothing() {
    let run = running(STUBBORN);

    kill(run.supervisor().supervisor.pid, Signal::SIGKILL);

    let record = run.end();
    assert_eq!(record.reason, ExitReason::SupervisorKilled);
    assert_eq!(record.message, "the supervisor was killed by signal 9 (SIGKILL)");
    assert!(record.started_time_utc.is_some());
    assert_eq!(record.log_bytes, 6);
    assert!(matches!(
        run.events().as_slice(),
        [
            Event::Confined { .. },
            Event::Started { .. },
            Event::SupervisorLost { .. },
            Event::Ended { reason: ExitReason::SupervisorKilled }
        ]
    ));
    assert!(!run.directory.temporary().exists());
}

#[test]
fn a_killed_guard_changes_nothing() {
    let run = running("print('ready'); import time; time.sleep(1); print('done')");

    kill(run.supervisor().guard.pid, Signal::SIGKILL);

    let record = run.end();
    assert_eq!(record.reason, ExitReason::Completed);
    assert_eq!(run.text(), "ready\ndone\n");
}

#[test]
fn when_both_are_killed_the_run_is_lost_and_then_settled() {
    let run = running(STUBBORN);
    assert!(run.live_processes().len() >= 4);
    let supervisor = run.supervisor();

    kill(supervisor.guard.pid, Signal::SIGKILL);
    kill(supervisor.supervisor.pid, Signal::SIGKILL);

    let lost = SupervisorState::Lost(LostReason::SupervisorGone);
    wait_until("the run is lost", || run.target.probe(&run.directory).unwrap() == lost);
    let record = run.target.settle(&run.directory).unwrap();
    assert_eq!(record.reason, ExitReason::SupervisorKilled);
    assert_eq!(run.end(), record);
    assert_eq!(run.target.settle(&run.directory).unwrap(), record);
}

#[test]
fn a_run_outlives_whoever_started_it() {
    let run = TestRun::of("import time; time.sleep(0.3); print('done')");
    run.write_launch();

    let starter =
        Command::new(supervise_program()).arg("start").arg(run.directory.path()).status().unwrap();

    assert_eq!(starter.signal(), Some(9));
    assert_eq!(run.end().reason, ExitReason::Completed);
    assert_eq!(run.text(), "done\n");
}

#[test]
fn a_supervisor_asked_to_stop_ends_the_run_properly() {
    for guard in [true, false] {
        let run = running("print('ready'); import time; time.sleep(1000)");
        let supervisor = run.supervisor();

        let pid = if guard { supervisor.guard.pid } else { supervisor.supervisor.pid };
        kill(pid, Signal::SIGTERM);

        let record = run.end();
        assert_eq!(record.reason, ExitReason::SupervisorKilled);
        assert!(record.message.starts_with("the supervisor was stopped by signal 15"));
        assert_eq!(record.signal, Some(15));
    }
}

#[test]
fn of_two_supervisors_for_one_run_one_refuses() {
    let run = TestRun::of("open('starts', 'a').write('x'); print('ready')");
    run.write_launch();
    let start = || {
        Command::new(supervise_program())
            .arg("supervise")
            .arg(run.directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };

    let racers: Vec<_> = (0..8).map(|_| start()).collect();
    let answers: Vec<String> = racers
        .into_iter()
        .map(|racer| String::from_utf8(racer.wait_with_output().unwrap().stdout).unwrap())
        .collect();

    assert_eq!(answers.iter().filter(|answer| *answer == "taken over\n").count(), 1);
    assert_eq!(answers.iter().filter(|answer| *answer == "already started\n").count(), 7);
    assert_eq!(run.end().reason, ExitReason::Completed);
    assert_eq!(std::fs::read(run.directory.work().join("starts")).unwrap(), b"x");
    let again = run.target.start(&run.directory);
    assert!(matches!(again, Err(TargetError::AlreadyStarted { .. })), "{again:?}");
}

/// Wherever in its life a supervisor is killed, the run has an end and started at most once.
/// `TRAINYARD_SOAK=1` does it 200 times instead of 30.
#[test]
fn a_supervisor_killed_at_any_moment_leaves_an_end() {
    let count = if std::env::var("TRAINYARD_SOAK").is_ok_and(|it| it == "1") { 200 } else { 30 };
    for number in 0..count {
        let run = TestRun::of("open('starts', 'a').write('x')\nimport time\ntime.sleep(0.02)");
        run.start();
        let supervisor = run.supervisor();
        std::thread::sleep(Duration::from_millis(number * 3 % 90));

        kill(supervisor.supervisor.pid, Signal::SIGKILL);
        // One in three loses its guard too, and is settled by whoever looks.
        let is_lost = number % 3 == 0;
        if is_lost {
            kill(supervisor.guard.pid, Signal::SIGKILL);
        }

        let state = run.target.wait(&run.directory, PATIENCE).unwrap();
        assert!(is_lost || matches!(state, SupervisorState::Ended(_)), "{number}: {state:?}");
        if matches!(state, SupervisorState::Lost(_)) {
            run.target.settle(&run.directory).unwrap();
        }
        let record = run.end();
        let expected =
            matches!(record.reason, ExitReason::SupervisorKilled | ExitReason::Completed);
        assert!(expected, "{number}: {record:?}");
        let starts = std::fs::read(run.directory.work().join("starts")).unwrap_or_default();
        assert!(starts.len() <= 1, "{number}");
    }
}
