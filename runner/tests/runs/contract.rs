//! The local target, and the supervisors that it starts.

use std::cell::RefCell;

use images::cache::{CacheOptions, EnvironmentCache};
use runner::compute_target::local::LocalTarget;
use runner::compute_target::supervisors::Supervisors;
use runner::compute_target::{ComputeTarget as _, SupervisorState};
use runner::exit_record::ExitReason;

use crate::support::{PATIENCE, TestRun, wait_until};
use crate::target_contract::holds_to_the_contract;

fn prepared(script: &str) -> TestRun {
    let run = TestRun::of(script);
    run.write_launch();
    run
}

#[test]
fn the_local_target_holds_to_the_contract() {
    let home = tempfile::tempdir().unwrap();
    let environments = home.path().join("environments");
    let environments = EnvironmentCache::open(&environments, CacheOptions::default()).unwrap();
    let supervisors = prepared("").target.clone();
    let target = LocalTarget::new(home.path().into(), supervisors, environments);
    assert_eq!(target.name(), "local");
    let runs = RefCell::new(Vec::new());
    let prepare = |script: &str| {
        let run = prepared(script);
        let directory = run.directory.clone();
        runs.borrow_mut().push(run);
        directory
    };
    holds_to_the_contract(&target, &prepare, PATIENCE);
}

#[test]
fn a_supervisor_leaves_no_zombie_to_whoever_started_it() {
    let run = prepared("print('done')");
    run.start();
    let supervisor = run.supervisor();

    assert_eq!(run.end().reason, ExitReason::Completed);

    for process in [supervisor.guard, supervisor.supervisor] {
        let path = format!("/proc/{}/status", process.pid);
        wait_until("it is gone", || !std::path::Path::new(&path).exists());
    }
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
