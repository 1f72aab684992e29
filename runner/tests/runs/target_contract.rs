//! What every compute target must do, whatever place it stands for.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use runner::cancel_request::{CancelRequest, CancelledBy};
use runner::compute_target::{ComputeTarget, SupervisorState, TargetError};
use runner::exit_record::ExitReason;
use runner::run_directory::RunDirectory;

/// Goes through the contract with runs that `prepare` makes of a script, launch record and all.
/// Nothing takes as long as `patience`.
pub(crate) fn holds_to_the_contract(
    target: &dyn ComputeTarget,
    prepare: &dyn Fn(&str) -> RunDirectory,
    patience: Duration,
) {
    a_run_goes_from_start_to_end(target, &prepare(A_WHILE), patience);
    a_run_is_cancelled(target, &prepare(FOREVER), patience);
    a_request_counts_for_a_later_start(target, &prepare(FOREVER), patience);
}

const A_WHILE: &str = "import time; time.sleep(2)";
const FOREVER: &str = "import time; time.sleep(1000)";

fn a_run_goes_from_start_to_end(
    target: &dyn ComputeTarget,
    run: &RunDirectory,
    patience: Duration,
) {
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

    let SupervisorState::Ended(record) = target.wait(run, patience).unwrap() else { panic!() };
    assert_eq!(record.reason, ExitReason::Completed);
    assert_eq!(target.settle(run).unwrap(), record);
    assert!(matches!(target.start(run), Err(TargetError::AlreadyStarted { .. })));
}

fn request() -> CancelRequest {
    CancelRequest::new(CancelledBy { uid: 0, user: None }, Timestamp::now(), false)
}

fn a_run_is_cancelled(target: &dyn ComputeTarget, run: &RunDirectory, patience: Duration) {
    target.start(run).unwrap();
    target.cancel(run, &request()).unwrap();
    target.cancel(run, &request()).unwrap();
    let SupervisorState::Ended(record) = target.wait(run, patience).unwrap() else { panic!() };
    assert_eq!(record.reason, ExitReason::Cancelled);
}

fn a_request_counts_for_a_later_start(
    target: &dyn ComputeTarget,
    run: &RunDirectory,
    patience: Duration,
) {
    target.cancel(run, &request()).unwrap();
    target.start(run).unwrap();
    let SupervisorState::Ended(record) = target.wait(run, patience).unwrap() else { panic!() };
    assert_eq!((record.reason, record.started_time_utc), (ExitReason::Cancelled, None));
}
