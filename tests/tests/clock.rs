//! The clock is set while runs are on: none ends early, none waits for ever, and nothing takes less
//! than no time.
//!
//! libfaketime sets it, for the agent and whoever follows, and leaves the monotonic clock alone, as the
//! kernel does. A supervisor gets nothing of the agent's environment: the runner's tests set its clock.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tests::{Yard, python, text, wait_until};

/// Where Debian and Ubuntu have it.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// A yard in which the clock can be set.
struct SetClock {
    yard: Yard,
    offset: PathBuf,
    gates: PathBuf,
    source: PathBuf,
}

impl SetClock {
    fn new() -> Option<Self> {
        if !Path::new(LIBRARY).exists() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "libfaketime is not installed");
            eprintln!("\n*** LEFT OUT, NOTHING WAS TESTED: libfaketime is not installed ***\n");
            return None;
        }
        let yard = Yard::new();
        let (offset, gates) = (yard.home().with_file_name("offset"), yard.shared("gates"));
        fs::create_dir(&gates).unwrap();
        let source = yard.script(
            "
import os, sys, time
print('on', flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
sys.exit(int(sys.argv[2]))
",
        );
        let clock = Self { yard, offset, gates, source };
        clock.set("+0");
        Some(clock)
    }

    /// Sets the clock for all, at once.
    fn set(&self, offset: &str) {
        let new = self.offset.with_extension("new");
        fs::write(&new, offset).unwrap();
        fs::rename(new, &self.offset).unwrap();
    }

    fn trainyard(&self) -> Command {
        let mut command = self.yard.trainyard();
        command
            .env("LD_PRELOAD", LIBRARY)
            .env("FAKETIME_TIMESTAMP_FILE", &self.offset)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
        command
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.trainyard().args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Hands in a run that ends with `code` once there is the gate `gate`.
    fn submit(&self, gate: &str, code: &str, options: &[&str]) -> String {
        let (source, python, gate) =
            (self.source.display().to_string(), python().display().to_string(), self.gate(gate));
        let first = ["run", "-d", "--json", "--source", &source, "--python", &python];
        let last = ["train.py", gate.to_str().unwrap(), code];
        let answer = self.ok(&[&first, options, &last].concat());
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        answer["runId"].as_str().unwrap().to_owned()
    }

    fn gate(&self, name: &str) -> PathBuf {
        self.gates.join(name)
    }

    fn follow(&self, command: &[&str]) -> Child {
        let mut follower = self.trainyard();
        follower.args(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn show(&self, run: &str) -> serde_json::Value {
        serde_json::from_str(&self.ok(&["show", "--json", run])).unwrap()
    }

    fn wait_until_on(&self, run: &str) {
        let log = self.yard.run_directory(run).join("user_logs/std_log.txt");
        wait_until("it is on", || fs::read(&log).is_ok_and(|log| log == b"on\n"));
    }
}

/// What there is of each kind when the clock is set, and what must come of it.
fn runs_outlast(clock: &SetClock, name: &str, offset: &str) {
    let begun = Instant::now();
    let long = clock.submit(name, "3", &[]);
    let limited = clock.submit("never", "0", &["--timeout", "3s"]);
    let retry = ["--retries", "1", "--on", "failure", "--retry-delay", "2s"];
    let again = clock.submit("now", "4", &retry);
    let follower = clock.follow(&["logs", "-f", &long]);
    let waiter = clock.follow(&["wait", &limited, &again]);
    [&long, &limited].into_iter().for_each(|run| clock.wait_until_on(run));
    wait_until("it is to be tried again", || {
        let shown = clock.show(&again);
        shown["status"] == "Queued" && shown["attempts"].as_array().unwrap().len() == 1
    });

    clock.set(offset);

    let waited = waiter.wait_with_output().unwrap();
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(3), "{name}: ended early, after {took:?}");
    assert!(took < Duration::from_secs(30), "{name}: {took:?}");
    assert_eq!(waited.status.code(), Some(124), "{name}: {}", text(&waited.stderr));
    let limited = clock.show(&limited);
    assert_eq!(limited["exit"]["reason"], "time_limit", "{name}: {limited:#}");
    let again = clock.show(&again);
    assert_eq!(again["exit"]["code"], 4, "{name}: {again:#}");
    assert_eq!(again["attempts"].as_array().unwrap().len(), 2, "{name}: {again:#}");
    let still = clock.show(&long);
    assert_eq!(still["status"], "Running", "{name}: {still:#}");
    let queued = clock.submit("now", "0", &["--after-any", &long]);
    fs::write(clock.gate(name), "").unwrap();
    let followed = follower.wait_with_output().unwrap();
    assert_eq!((followed.status.code(), text(&followed.stdout)), (Some(0), "on\n".to_owned()));
    let ended = clock.trainyard().args(["wait", &queued]).status().unwrap();
    assert_eq!(ended.code(), Some(0), "{name}");
    for run in [&long, &queued] {
        let shown = clock.ok(&["show", run]);
        println!("{name}: {}", shown.lines().find(|line| line.starts_with("Status")).unwrap());
    }
    println!("{name} took {:?}", begun.elapsed());
}

#[test]
fn runs_outlast_a_clock_that_is_set() {
    let Some(clock) = SetClock::new() else { return };
    fs::write(clock.gate("now"), "").unwrap();
    for (name, offset) in [
        ("an-hour-on", "+3600"),
        ("an-hour-back", "-3600"),
        ("a-day-on", "+86400"),
        ("a-day-back", "-86400"),
        ("a-year-on", "+31536000"),
        ("a-year-back", "-31536000"),
    ] {
        clock.set("+0");
        runs_outlast(&clock, name, offset);
    }
}
