//! Containers whose maker ends before them, with a real engine.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::*;
use crate::engine::{MAKER_LABEL, OurContainer, PURPOSE_LABEL};
use crate::testing::engine::{engine, shell, unique};

const HOME: &str = "TRAINYARD_TEST_HOME_LABEL";
const LIMIT: Duration = Duration::from_secs(60);

#[test]
#[ignore = "run by another test, in a process of its own"]
fn in_another_process() {
    let Some(engine) = engine() else { return };
    let home = std::env::var(HOME).unwrap();
    let short = ShortRun { home: &home, purpose: "sleep", limit: LIMIT };
    engine.run_container(&shell(&engine, "sleep 600"), short).unwrap();
}

fn until(engine: &Engine, home: &str, reached: impl Fn(&OurContainer) -> bool) -> OurContainer {
    let until = Instant::now() + LIMIT;
    loop {
        let found = engine.our_containers(home).unwrap().into_iter().find(&reached);
        if let Some(found) = found {
            return found;
        }
        assert!(Instant::now() < until, "waited too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_a_killed_process_leaves_can_be_told_from_what_is_waited_for() {
    let Some(engine) = engine() else { return };
    let home = unique("home");
    let name = "engine::container::short_run::tests::in_another_process";
    let mut maker = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--quiet"])
        .env(HOME, &home)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let on = until(&engine, &home, |container| container.running);
    assert!(!on.is_abandoned());
    assert_eq!(on.labels[PURPOSE_LABEL], "sleep");

    maker.kill().unwrap();
    maker.wait().unwrap();
    let left = engine.our_containers(&home).unwrap();

    assert_eq!((left.len(), left[0].is_abandoned()), (1, true), "{left:?}");
    engine.remove_container(&left[0].id).unwrap();
    assert_eq!(engine.our_containers(&home).unwrap(), []);
}

#[test]
fn one_of_this_process_is_not_abandoned_and_one_of_nobody_is_not_ours() {
    let Some(engine) = engine() else { return };
    let home = unique("home");
    let mut spec = shell(&engine, "true");
    spec.labels = maker::labels(&home, "test");
    let made = engine.create_container(&unique("made"), &spec).unwrap();
    let seen = engine.our_containers(&home).unwrap().remove(0);
    engine.remove_container(&made.id).unwrap();
    assert!(!seen.is_abandoned());
    assert!(seen.labels.contains_key(MAKER_LABEL));
}
