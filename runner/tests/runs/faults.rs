//! A supervisor is killed, or told that the disk is full or broken, at every call that matters:
//! its run has an end that is true.
//!
//! strace does that, and lets go of the script. `TRAINYARD_SOAK=1` tries all calls instead of a sample.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use runner::compute_target::SupervisorState;
use runner::compute_target::supervisors::Supervisors;
use runner::exit_record::{ExitReason, ExitRecord};

use crate::support::{PATIENCE, TestRun, supervise_program};

/// Calls that make a change or see it to the disk, and how many a supervisor makes of them, or
/// somewhat more.
const CALLS: [(&str, usize); 6] = [
    ("fsync,fdatasync", 6),
    ("link,linkat,rename,renameat", 3),
    ("write,pwrite64", 12),
    ("mkdir,mkdirat", 6),
    ("unlink,unlinkat", 6),
    ("fallocate,ftruncate", 2),
];

/// Of how many calls one is tried where time is short.
const SAMPLE: usize = 4;

const SCRIPT: &str = "open('starts', 'a').write('x')\nprint('said')\nraise SystemExit(3)";

/// Returns a run whose supervisor meets `fault` at the `number`th of `calls`.
fn faulty(calls: &str, fault: &str, number: usize) -> TestRun {
    let mut run = TestRun::of(SCRIPT);
    let wrapper = run.base().join("supervise");
    let (trace, program) = (run.base().join("trace"), supervise_program());
    let text = format!(
        "#!/bin/sh\nexec /usr/bin/strace -f -b execve -o {trace:?} -e trace={calls} \
         -e inject={calls}:{fault}:when={number} {program:?} \"$@\"\n"
    );
    fs::write(&wrapper, text).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    run.target = Supervisors::new(wrapper);
    run
}

fn was_met(run: &TestRun) -> bool {
    let trace = fs::read_to_string(run.base().join("trace")).unwrap_or_default();
    trace.contains("(INJECTED)") || trace.contains("killed by SIGKILL")
}

/// Starts the run, which may not work, and returns how it ended. `None`: it was not taken over.
fn ended(run: &TestRun) -> Option<ExitRecord> {
    run.write_launch();
    let started = run.target.start(&run.directory);
    match run.target.wait(&run.directory, PATIENCE).unwrap() {
        SupervisorState::Ended(record) => Some(record),
        SupervisorState::Lost(_) => Some(run.target.settle(&run.directory).unwrap()),
        SupervisorState::NotStarted => {
            assert!(started.is_err(), "{started:?}");
            None
        }
        SupervisorState::Running(_) => panic!("it does not end: {}", run.supervisor_log()),
    }
}

fn every_call(fault: &str) {
    if !fs::exists("/usr/bin/strace").unwrap() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "strace is not installed");
        eprintln!("skipped: strace is not installed");
        return;
    }
    let every = if std::env::var("TRAINYARD_SOAK").is_ok_and(|it| it == "1") { 1 } else { SAMPLE };
    let all = CALLS.iter().flat_map(|(calls, most)| (1..=*most).map(move |number| (calls, number)));
    let (mut met, mut tried) = (0, 0);
    for (calls, number) in all.step_by(every) {
        let run = faulty(calls, fault, number);

        let record = ended(&run);

        let at = format!("{fault} at {calls} {number}: {record:?}\n{}", run.supervisor_log());
        tried += 1;
        met += usize::from(was_met(&run));
        let starts = fs::read(run.directory.work().join("starts")).unwrap_or_default().len();
        assert!(starts <= 1, "{at}");
        assert_eq!(run.live_processes(), Vec::<i32>::new(), "{at}");
        let reason = record.as_ref().map(|record| record.reason);
        println!("{fault} at {calls} {number}, met: {}: {reason:?}", was_met(&run));
        match reason {
            None => assert_eq!(starts, 0, "{at}"),
            Some(ExitReason::ScriptFailed) => {
                let record = record.unwrap();
                assert_eq!((starts, record.code), (1, Some(3)), "{at}");
                assert_eq!(record.log_bytes + record.log_bytes_dropped, 5, "{at}");
            }
            Some(reason) => {
                let ours = [
                    ExitReason::SupervisorKilled,
                    ExitReason::AgentFault,
                    ExitReason::CannotStart,
                    ExitReason::DiskFull,
                ];
                assert!(ours.contains(&reason), "{at}");
                let full = fault.ends_with("ENOSPC");
                assert!(!full || reason != ExitReason::AgentFault, "{at}");
            }
        }
    }
    println!("{fault}: met at {met} of {tried} calls");
    assert!(met * 3 > tried, "met at {met} of {tried} calls only");
}

#[test]
fn killed_at_any_call() {
    every_call("signal=KILL");
}

#[test]
fn a_full_disk_at_any_call() {
    every_call("error=ENOSPC");
}

#[test]
fn a_broken_disk_at_any_call() {
    every_call("error=EIO");
}
