use super::*;
use crate::testing::engine::{engine, shell, unique};

/// A container that is removed whatever happens.
struct Made<'a> {
    engine: &'a Engine,
    id: String,
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        self.engine.remove_container(&self.id).unwrap();
    }
}

fn make<'a>(engine: &'a Engine, name: &str, spec: &ContainerSpec) -> Made<'a> {
    let made = engine.create_container(name, spec).unwrap();
    assert!(!made.found);
    Made { engine, id: made.id }
}

fn state_of(engine: &Engine, name: &str) -> ContainerState {
    engine.container(name).unwrap().unwrap()
}

#[test]
fn from_made_to_gone() {
    let Some(engine) = engine() else { return };
    let name = unique("life");
    let mut spec = shell(&engine, "exit 3");
    spec.labels.insert(RUN_LABEL.to_owned(), "r1".to_owned());
    assert_eq!(engine.container(&name).unwrap(), None);

    let made = make(&engine, &name, &spec);
    assert_eq!(state_of(&engine, &name).status, "created");
    engine.wait_container(&made.id).unwrap();

    engine.start_container(&made.id).unwrap();
    engine.wait_container(&made.id).unwrap();
    let state = state_of(&engine, &made.id);
    assert_eq!((state.status.as_str(), state.running, state.exit_code), ("exited", false, 3));
    assert_eq!((state.labels[RUN_LABEL].as_str(), state.oom_killed), ("r1", false));
    // Which is later cannot be said: an engine may note the start of what is over already.
    for time in [&state.started_at, &state.finished_at] {
        assert!(time.parse::<jiff::Timestamp>().unwrap() > jiff::Timestamp::UNIX_EPOCH, "{time}");
    }
    engine.signal_container(&made.id, "TERM").unwrap();

    engine.remove_container(&made.id).unwrap();
    engine.remove_container(&made.id).unwrap();
    engine.signal_container(&made.id, "TERM").unwrap();
    engine.wait_container(&made.id).unwrap();
    assert_eq!(engine.container(&name).unwrap(), None);
}

#[test]
fn a_signal_ends_what_runs_while_another_thread_waits() {
    let Some(engine) = engine() else { return };
    let made = make(&engine, &unique("signal"), &shell(&engine, "exec sleep 600"));
    engine.start_container(&made.id).unwrap();
    engine.start_container(&made.id).unwrap();
    let state = state_of(&engine, &made.id);
    assert!(state.running && state.pid > 0);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| engine.wait_container(&made.id));
        engine.signal_container(&made.id, "KILL").unwrap();
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(state_of(&engine, &made.id).exit_code, 137);
}
