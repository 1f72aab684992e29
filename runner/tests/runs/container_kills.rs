//! Whoever kills whom: a run in a container has one end, and no container stays.

use std::process::Command;

use nix::sys::signal::Signal;
use runner::compute_target::{LostReason, SupervisorState, TargetError};
use runner::exit_record::ExitReason;

use crate::container::{ContainerRun, docker};
use crate::support::{kill, supervise_program, wait_until};

const WAITS: &str = "
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('ready')
time.sleep(1000)
";

fn running(script: &str) -> Option<ContainerRun> {
    let mut run = ContainerRun::of(script)?;
    std::fs::write(run.directory.secrets_json(), r#"{"TOKEN":"x y z"}"#).unwrap();
    run.launch.secret_names = vec!["TOKEN".to_owned()];
    run.start();
    run.wait_for_output("ready\n");
    assert!(run.secrets().exists());
    Some(run)
}

#[test]
fn a_killed_supervisor_leaves_no_container() {
    let Some(run) = running(WAITS) else { return };

    kill(run.supervisor().supervisor.pid, Signal::SIGKILL);

    let record = run.end();
    assert_eq!(record.reason, ExitReason::SupervisorKilled);
    assert!(record.started_time_utc.is_some());
    assert_eq!(record.log_bytes, 6);
}

/// As when an agent that was killed had just started one, and the next does so again.
#[test]
fn a_supervisor_that_comes_too_late_leaves_the_container_of_the_first_alone() {
    let Some(run) = running("print('ready'); import time; time.sleep(2); print('done')") else {
        return;
    };

    let late = Command::new(supervise_program())
        .arg("supervise")
        .arg(run.directory.path())
        .output()
        .unwrap();

    assert_eq!(late.stdout, b"already started\n");
    let record = run.end();
    assert_eq!(record.reason, ExitReason::Completed, "{}", record.message);
    assert_eq!(run.text(), "ready\ndone\n");
}

#[test]
fn a_killed_guard_changes_nothing() {
    let Some(run) = running("print('ready'); import time; time.sleep(1); print('done')") else {
        return;
    };

    kill(run.supervisor().guard.pid, Signal::SIGKILL);

    assert_eq!(run.end().reason, ExitReason::Completed);
    assert_eq!(run.text(), "ready\ndone\n");
}

#[test]
fn when_both_are_killed_the_run_is_lost_and_then_settled() {
    let Some(run) = running(WAITS) else { return };
    let supervisor = run.supervisor();

    kill(supervisor.guard.pid, Signal::SIGKILL);
    kill(supervisor.supervisor.pid, Signal::SIGKILL);

    let lost = SupervisorState::Lost(LostReason::SupervisorGone);
    wait_until("the run is lost", || run.target.probe(&run.directory).unwrap() == lost);
    // The engine is away at first.
    let away =
        run.target.clone().with_engine([("DOCKER_HOST".into(), "unix:///nonexistent".into())]);
    let error = away.settle(&run.directory).unwrap_err();
    assert!(matches!(error, TargetError::Container { .. }), "{error}");
    assert!(error.hint().is_some());
    assert_eq!(run.target.probe(&run.directory).unwrap(), lost);

    let record = run.target.settle(&run.directory).unwrap();

    assert_eq!(record.reason, ExitReason::SupervisorKilled);
    assert_eq!(run.end(), record);
}

#[test]
fn a_supervisor_asked_to_stop_ends_the_container_properly() {
    let Some(run) = running("print('ready'); import time; time.sleep(1000)") else { return };

    kill(run.supervisor().supervisor.pid, Signal::SIGTERM);

    let record = run.end();
    assert_eq!((record.reason, record.signal), (ExitReason::SupervisorKilled, Some(15)));
}

#[test]
fn a_container_removed_by_somebody_else_is_named() {
    let Some(mut run) = running(WAITS) else { return };

    docker(None, &["rm", "-f", &run.container().name.clone()]).unwrap();

    let record = run.end();
    assert_eq!(record.reason, ExitReason::EngineStopped, "{record:?}");
    assert_eq!(record.message, "the script's container was removed by somebody else");
    assert_eq!(record.process_exit_code(), 125);
}

/// Wherever in its life a supervisor is killed, the run has an end and no container stays.
#[test]
fn a_supervisor_killed_at_any_moment_leaves_an_end() {
    for delay in 0..10 {
        let Some(run) = ContainerRun::of("import time; time.sleep(0.1)") else { return };
        run.start();
        let supervisor = run.supervisor();
        std::thread::sleep(std::time::Duration::from_millis(delay * 60));

        kill(supervisor.supervisor.pid, Signal::SIGKILL);

        let record = run.end();
        let expected =
            matches!(record.reason, ExitReason::SupervisorKilled | ExitReason::Completed);
        assert!(expected, "after {delay}: {record:?}");
    }
}
