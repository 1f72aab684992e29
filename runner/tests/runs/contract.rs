//! What every compute target must do, whatever place it stands for.

use std::time::{Duration, Instant};

use images::cache::{CacheOptions, EnvironmentCache};
use jiff::Timestamp;
use runner::cancel_request::{CancelRequest, CancelledBy};
use runner::compute_target::local::LocalTarget;
use runner::compute_target::supervisors::Supervisors;
use runner::compute_target::{ComputeTarget, SupervisorState, TargetError};
use runner::exit_record::ExitReason;
use snapshots::store::local::LocalStore;

use crate::support::{PATIENCE, TestRun};

/// Goes through the contract with runs that `prepare` makes of a script, launch record and all.
fn holds_to_the_contract(target: &dyn ComputeTarget, prepare: &dyn Fn(&str) -> TestRun) {
    a_run_goes_from_start_to_end(target, &prepare("import time; time.sleep(0.2)"));
    a_run_is_cancelled(target, &prepare("import time; time.sleep(1000)"));
    a_request_counts_for_a_later_start(target, &prepare("import time; time.sleep(1000)"));
}

fn a_run_goes_from_start_to_end(target: &dyn ComputeTarget, run: &TestRun) {
    let run = &run.directory;
    assert_eq!(target.probe(run).unwrap(), SupervisorState::NotStarted);
    assert!(matches!(target.settle(run), Err(TargetError::NotStarted { .. })));

    target.start(run).unwrap();
    let SupervisorState::Running(identity) = target.probe(run).unwrap() else { panic!() };
    assert!(matches!(target.start(run), Err(TargetError::AlreadyStarted { .. })));
    assert!(matches!(target.settle(run), Err(TargetError::StillSupervised { .. })));
    let begun = Instant::now();
    let state = target.wait(run, Duration::from_millis(20)).unwrap();
    assert_eq!(state, SupervisorState::Running(identity));
    assert!(begun.elapsed() >= Duration::from_millis(20));

    let SupervisorState::Ended(record) = target.wait(run, PATIENCE).unwrap() else { panic!() };
    assert_eq!(record.reason, ExitReason::Completed);
    assert_eq!(target.settle(run).unwrap(), record);
    assert!(matches!(target.start(run), Err(TargetError::AlreadyStarted { .. })));
}

fn request() -> CancelRequest {
    CancelRequest::new(CancelledBy { uid: 0, user: None }, Timestamp::now(), false)
}

fn a_run_is_cancelled(target: &dyn ComputeTarget, run: &TestRun) {
    let run = &run.directory;
    target.start(run).unwrap();
    target.cancel(run, &request()).unwrap();
    target.cancel(run, &request()).unwrap();
    let SupervisorState::Ended(record) = target.wait(run, PATIENCE).unwrap() else { panic!() };
    assert_eq!(record.reason, ExitReason::Cancelled);
}

fn a_request_counts_for_a_later_start(target: &dyn ComputeTarget, run: &TestRun) {
    let run = &run.directory;
    target.cancel(run, &request()).unwrap();
    target.start(run).unwrap();
    let SupervisorState::Ended(record) = target.wait(run, PATIENCE).unwrap() else { panic!() };
    assert_eq!((record.reason, record.started_time_utc), (ExitReason::Cancelled, None));
}

fn prepared(script: &str) -> TestRun {
    let run = TestRun::of(script);
    run.write_launch();
    run
}

#[test]
fn the_local_target_holds_to_the_contract() {
    let home = tempfile::tempdir().unwrap();
    let objects = LocalStore::open(&home.path().join("store")).unwrap();
    let environments = home.path().join("environments");
    let environments = EnvironmentCache::open(&environments, CacheOptions::default()).unwrap();
    let supervisors = prepared("").target.clone();
    let target = LocalTarget::new(home.path().into(), supervisors, objects, environments);
    assert_eq!(target.name(), "local");
    holds_to_the_contract(&target, &prepared);
}

#[test]
fn a_supervisor_is_nobodys_child() {
    let run = prepared("print('ready'); import time; time.sleep(1000)");
    run.start();

    let supervisor = run.supervisor();
    let ours = std::process::id().to_string();
    for pid in [supervisor.guard.pid, supervisor.supervisor.pid] {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
        assert_ne!(parent.trim(), ours);
    }
    run.cancel(true);
    run.end();
}

#[test]
fn a_watch_tells_the_end_of_the_supervisor() {
    let run = prepared("import time; time.sleep(0.1)");
    assert!(run.target.watch(&run.directory).unwrap().is_none());
    run.start();

    let descriptor = run.target.watch(&run.directory).unwrap().unwrap();
    let mut watched = [rustix::event::PollFd::new(&descriptor, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut watched, Some(&limit)).unwrap(), 1);

    assert!(run.target.watch(&run.directory).unwrap().is_none());
    assert_eq!(run.end().reason, ExitReason::Completed);
}

#[test]
fn a_supervisor_that_does_not_start_is_an_error() {
    let run = prepared("");
    let missing = Supervisors::new("/nonexistent/trainyard".into());
    let wrong = Supervisors::new("/bin/false".into());

    let error = missing.start(&run.directory).unwrap_err();
    let expected = r#"cannot start the supervisor "/nonexistent/trainyard""#;
    assert_eq!(error.to_string(), expected);
    let error = wrong.start(&run.directory).unwrap_err();
    assert!(error.to_string().ends_with("did not take it over: it said nothing"), "{error}");
    assert_eq!(run.target.probe(&run.directory).unwrap(), SupervisorState::NotStarted);
}

#[test]
fn a_supervisor_of_nothing_says_so() {
    let answer = std::process::Command::new(crate::support::supervise_program())
        .args(["supervise", "/nonexistent/run"])
        .output()
        .unwrap();

    assert_eq!(answer.status.code(), Some(125));
    let said = String::from_utf8(answer.stderr).unwrap();
    assert!(said.starts_with(r#"cannot find "/nonexistent/run": No such file"#), "{said}");
}
