//! An engine that is stopped and started in the middle of a run: the outcome is the true one.

use std::fs;
use std::time::Duration;

use runner::compute_target::SupervisorState;
use runner::exit_record::ExitReason;
use runner::supervisor::events::Event;

use crate::container::ContainerRun;
use crate::own_engine::{OwnEngine, SmallImage};
use crate::support::{PATIENCE, wait_until};

/// Says a line for each file that comes, and ends with the last.
const FOLLOWS: &str = "
echo ready
for name in one two; do
    while [ ! -e $name ]; do sleep 0.02; done
    echo $name
done
exit 5
";

fn started(engine: &OwnEngine, image: &SmallImage, script: &str) -> ContainerRun {
    let mut run = ContainerRun::on(Some(&engine.host()), &image.name, "", &[]);
    run.shell(script);
    run.start();
    run.wait_for_output("ready\n");
    run
}

fn touch(run: &ContainerRun, name: &str) {
    fs::write(run.directory.work().join(name), b"").unwrap();
}

fn wait_for_event(run: &ContainerRun, wanted: fn(&Event) -> bool) {
    wait_until("the event is there", || run.events().iter().any(wanted));
}

fn is_away(event: &Event) -> bool {
    matches!(event, Event::EngineAway { .. })
}

#[test]
fn with_live_restore_a_run_goes_on_without_its_engine() {
    let Some(mut engine) = OwnEngine::start(true) else { return };
    let image = SmallImage::make(Some(&engine.host()), "/bin/sh");
    let lasting = started(&engine, &image, FOLLOWS);
    let ending = started(&engine, &image, FOLLOWS);
    let cancelled = started(&engine, &image, FOLLOWS);

    engine.stop();
    for run in [&lasting, &ending, &cancelled] {
        wait_for_event(run, is_away);
    }
    // Output does not need it.
    touch(&lasting, "one");
    lasting.wait_for_output("ready\none\n");
    // Nor does the end.
    touch(&ending, "one");
    touch(&ending, "two");
    ending.wait_for_output("ready\none\ntwo\n");
    // A cancelled run has not ended before that is certain.
    cancelled.cancel(true);
    wait_until("it is seen", || {
        cancelled.events().iter().any(|event| matches!(event, Event::CancelRequested { .. }))
    });
    let state = cancelled.target.wait(&cancelled.directory, Duration::from_millis(300)).unwrap();
    assert!(matches!(state, SupervisorState::Running(_)), "{state:?}");
    engine.start_again();

    let record = ending.end();
    assert_eq!((record.reason, record.code), (ExitReason::ScriptFailed, Some(5)), "{record:?}");
    let record = cancelled.end();
    assert_eq!((record.reason, record.signal), (ExitReason::Cancelled, Some(9)), "{record:?}");
    wait_for_event(&lasting, |event| matches!(event, Event::EngineBack { running: true }));
    touch(&lasting, "two");
    let record = lasting.end();
    assert_eq!((record.reason, record.code), (ExitReason::ScriptFailed, Some(5)), "{record:?}");
    assert_eq!(lasting.text(), "ready\none\ntwo\n");
}

#[test]
fn without_live_restore_the_engine_has_ended_the_run() {
    let Some(mut engine) = OwnEngine::start(false) else { return };
    let image = SmallImage::make(Some(&engine.host()), "/bin/sh");
    let killed = started(&engine, &image, FOLLOWS);
    let polite = started(
        &engine,
        &image,
        "trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.02; done",
    );

    engine.stop();
    for run in [&killed, &polite] {
        let state = run.target.wait(&run.directory, Duration::ZERO).unwrap();
        assert!(matches!(state, SupervisorState::Running(_)), "{state:?}");
    }
    engine.start_again();

    let record = killed.end();
    assert_eq!(record.reason, ExitReason::EngineStopped, "{record:?}");
    assert_eq!(record.process_exit_code(), 125);
    assert!(record.message.starts_with("the container engine was stopped"), "{record:?}");
    let record = polite.end();
    assert_eq!((record.reason, record.code), (ExitReason::EngineStopped, Some(0)), "{record:?}");
    // The shell may say as well that what it waited for was ended, too.
    let text = polite.text();
    assert!(text.starts_with("ready\n") && text.contains("asked\n"), "{text}");
}

#[test]
fn cancelled_at_once_a_run_does_not_wait_for_an_engine_that_hangs() {
    let Some(engine) = OwnEngine::start(true) else { return };
    let image = SmallImage::make(Some(&engine.host()), "/bin/sh");
    let run = started(&engine, &image, "trap '' TERM; echo ready; while :; do sleep 0.02; done");

    engine.freeze();
    run.cancel(true);
    let state = run.target.wait(&run.directory, PATIENCE);
    engine.thaw();

    let SupervisorState::Ended(record) = state.unwrap() else { panic!("it waits for its engine") };
    assert_eq!(run.live_processes(), Vec::<i32>::new(), "{record:?}");
    assert_eq!((record.reason, record.signal), (ExitReason::Cancelled, Some(9)), "{record:?}");
    assert!(record.message.contains("; the container engine did not answer: its "), "{record:?}");
    assert!(record.message.contains("killed without it; the container "), "{record:?}");
}
