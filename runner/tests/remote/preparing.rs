//! Preparations that take long, die, or are not wanted any more.

use std::fs;

use images::environment::{Environment, RequirementsFile};
use runner::cancel_request::CancelledBy;
use runner::compute_target::SupervisorState;
use runner::exit_record::ExitReason;
use runner::remote::client::RemoteError;
use runner::remote::message::{RefusalKind, Standing, Started};
use runner::run_id::RunId;

use crate::conversation::HomeRun;
use crate::machine::{Machine, kill, python, wait_until};

/// An environment that is built by the gate keeper of [`Machine::with_gate`].
fn built() -> Environment {
    let files = vec![RequirementsFile { name: "requirements.txt".to_owned(), text: String::new() }];
    Environment::Requirements { interpreter: python().into(), files }
}

fn preparer(machine: &Machine, run: &RunId) -> Option<i32> {
    let directory = machine.home().run(run);
    let wanted = format!("remote\0prepare\0{}\0", directory.path().display());
    machine.processes().into_iter().find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).ends_with(&wanted)
    })
}

#[test]
fn a_preparation_that_is_cancelled_ends_and_leaves_nothing() {
    let machine = Machine::with_gate();
    let mut run = HomeRun::of("", &[]);
    run.needs.environment = built();
    let mut client = machine.connect();
    run.upload(&mut client).unwrap();
    run.prepare(&mut client).unwrap();
    wait_until("the build has begun", || machine.builds() == 1);
    assert_eq!(run.look_until(&mut client, |_| true).unwrap(), Standing::Preparing);

    run.cancel(&mut client).unwrap();

    let standing = run.look_until(&mut client, |s| !matches!(s, Standing::Preparing)).unwrap();
    let Standing::NotPrepared { told } = standing else { panic!("{standing:?}") };
    assert_eq!(told.reason, ExitReason::Cancelled);
    let record = run.settle(&mut client).unwrap();
    assert_eq!(record.reason, ExitReason::Cancelled);
    assert_eq!(record.message, "the run was cancelled by ana before it started");
    assert_eq!(record.cancelled_by, Some(CancelledBy { uid: 1000, user: Some("ana".to_owned()) }));
    assert_eq!(run.follow(&mut client).unwrap(), record);
    run.release(&mut client).unwrap();
    drop(client);
    machine.wait_until_quiet();
}

#[test]
fn a_preparation_that_died_is_taken_up_again() {
    let machine = Machine::with_gate();
    let mut run = HomeRun::of("print('fine')", &[]);
    run.needs.environment = built();
    let mut client = machine.connect();
    run.upload(&mut client).unwrap();
    run.prepare(&mut client).unwrap();
    wait_until("the build has begun", || machine.builds() == 1);

    kill(preparer(&machine, &run.id).unwrap());
    machine.open_gate();

    let standing = run.look_until(&mut client, |s| !matches!(s, Standing::Preparing)).unwrap();
    assert!(matches!(standing, Standing::Prepared { .. }), "{standing:?}");
    // Kept until the run is over, also after a keeper that died.
    kill(preparer(&machine, &run.id).unwrap());
    wait_until("it is gone", || preparer(&machine, &run.id).is_none());
    assert_eq!(run.start(&mut client).unwrap(), Started::Now);
    assert_eq!(run.follow(&mut client).unwrap().reason, ExitReason::Completed);
    run.release(&mut client).unwrap();
    drop(client);
    machine.wait_until_quiet();
}

#[test]
fn a_preparation_that_always_dies_is_given_up() {
    let machine = Machine::with_gate();
    let mut run = HomeRun::of("", &[]);
    run.needs.environment = built();
    let mut client = machine.connect();
    run.upload(&mut client).unwrap();
    run.prepare(&mut client).unwrap();

    let tries = machine.home().run(&run.id).path().join("prepare.tries");
    for nth in 1..=3 {
        let mut found = None;
        wait_until("somebody prepares", || {
            // Whoever looks before the death of the last one is known starts none.
            run.look(&mut client, 0).unwrap();
            found = preparer(&machine, &run.id);
            let begun = fs::read_to_string(&tries).unwrap_or_default().lines().count();
            found.is_some() && begun == nth
        });
        kill(found.unwrap());
        wait_until("it is gone", || preparer(&machine, &run.id).is_none());
    }

    let standing = run.look_until(&mut client, |s| !matches!(s, Standing::Preparing)).unwrap();
    let Standing::NotPrepared { told } = standing else { panic!("{standing:?}") };
    assert_eq!(told.reason, ExitReason::EnvironmentFailed);
    assert!(told.message.starts_with("what prepares the run was killed 3 times"), "{told:?}");
    run.release(&mut client).unwrap();
}

#[test]
fn a_run_that_cannot_be_prepared_says_why() {
    let machine = Machine::new();
    let mut run = HomeRun::of("", &[]);
    run.needs.environment = Environment::UserManaged { interpreter: "/nowhere/python3".into() };
    let mut client = machine.connect();
    run.upload(&mut client).unwrap();
    run.prepare(&mut client).unwrap();

    let standing = run.look_until(&mut client, |s| !matches!(s, Standing::Preparing)).unwrap();

    let Standing::NotPrepared { told } = standing else { panic!("{standing:?}") };
    assert_eq!(told.reason, ExitReason::EnvironmentFailed);
    assert!(told.message.contains("/nowhere/python3"), "{told:?}");
    let refused = run.start(&mut client).unwrap_err();
    let RemoteError::Refused { refusal } = refused else { panic!("{refused}") };
    assert_eq!(refusal.kind, RefusalKind::NotPrepared);
    let RemoteError::Refused { refusal } = run.settle(&mut client).unwrap_err() else { panic!() };
    assert_eq!(refusal.kind, RefusalKind::NotStarted);
}

#[test]
fn what_was_prepared_before_a_boot_is_prepared_again() {
    let machine = Machine::new();
    let mut run = HomeRun::of("print('fine')", &[]);
    let mut client = machine.connect();
    run.upload(&mut client).unwrap();
    run.prepare(&mut client).unwrap();
    run.look_until(&mut client, |s| matches!(s, Standing::Prepared { .. })).unwrap();
    let directory = machine.home().run(&run.id);
    wait_until("the preparer is gone", || preparer(&machine, &run.id).is_none());
    let path = directory.path().join("prepared.json");
    let text = fs::read_to_string(&path).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(&path, text.replace(boot.trim(), "another")).unwrap();
    fs::remove_dir_all(directory.work()).unwrap();

    run.prepare(&mut client).unwrap();

    run.look_until(&mut client, |s| matches!(s, Standing::Prepared { .. })).unwrap();
    wait_until("it is laid out", || directory.work().join("script.py").exists());
    assert_eq!(run.start(&mut client).unwrap(), Started::Now);
    assert_eq!(run.follow(&mut client).unwrap().reason, ExitReason::Completed);
}

#[test]
fn a_run_that_was_cancelled_before_it_started_never_runs() {
    let machine = Machine::new();
    let mut run = HomeRun::of("open('outputs/ran', 'w').close()", &[]);
    let mut client = machine.connect();
    run.upload(&mut client).unwrap();
    run.prepare(&mut client).unwrap();
    run.look_until(&mut client, |s| matches!(s, Standing::Prepared { .. })).unwrap();
    run.cancel(&mut client).unwrap();

    let record = run.settle(&mut client).unwrap();

    assert_eq!(record.reason, ExitReason::Cancelled);
    assert_eq!(run.start(&mut client).unwrap(), Started::Before);
    let state = Standing::Supervised { state: SupervisorState::Ended(record) };
    assert_eq!(run.look_until(&mut client, |_| true).unwrap(), state);
    assert!(!machine.home().run(&run.id).outputs().join("ran").exists());
}

#[test]
fn an_environment_that_is_gone_before_the_start_is_built_again() {
    let machine = Machine::with_gate();
    machine.open_gate();
    let mut run = HomeRun::of("print('fine')", &[]);
    run.needs.environment = built();
    let mut client = machine.connect();
    run.upload(&mut client).unwrap();
    run.prepare(&mut client).unwrap();
    run.look_until(&mut client, |s| matches!(s, Standing::Prepared { .. })).unwrap();
    kill(preparer(&machine, &run.id).unwrap());
    wait_until("it is gone", || preparer(&machine, &run.id).is_none());
    fs::remove_dir_all(machine.home().environments()).unwrap();

    run.prepare(&mut client).unwrap();

    wait_until("it is built again", || machine.builds() == 2);
    run.look_until(&mut client, |s| matches!(s, Standing::Prepared { .. })).unwrap();
    assert_eq!(run.start(&mut client).unwrap(), Started::Now);
    assert_eq!(run.follow(&mut client).unwrap().reason, ExitReason::Completed);
}
