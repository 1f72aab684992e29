//! Runs that are tried again, and submissions that are repeated, through the binary.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tests::attached::files_with;
use tests::{Yard, kill_supervisors, text, wait_until};

/// A script that knows at which attempt it is, and then does `what`.
fn counting(yard: &Yard, what: &str) -> PathBuf {
    let count = yard.shared("count");
    yard.script(&format!(
        "import os, sys, time\n\
         n = 1 + (len(open({count:?}).read()) if os.path.exists({count:?}) else 0)\n\
         open({count:?}, 'a').write('x')\n\
         print('attempt', n, flush=True)\n{what}\n"
    ))
}

/// Runs `train.py` in the foreground; returns its code, stdout and stderr.
fn run(yard: &Yard, source: &std::path::Path, options: &[&str]) -> (Option<i32>, String, String) {
    let mut command = yard.trainyard();
    command.args(["run", "--python"]).arg(tests::python()).arg("--source").arg(source);
    let output = command.args(options).arg("train.py").output().unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn reasons(shown: &serde_json::Value) -> Vec<String> {
    let attempts = shown["attempts"].as_array().unwrap().iter();
    attempts.map(|attempt| attempt["reason"].as_str().unwrap().to_owned()).collect()
}

fn waits_for_attempt(yard: &Yard, run: &str, number: u32) -> bool {
    let shown = yard.show(run);
    shown["status"] == "Queued" && shown["attempt"]["number"] == number
}

const METRIC: &str = r#"print('{"name": "n", "value": %d}' % n)"#;

#[test]
fn a_script_that_fails_is_tried_again_where_that_was_asked_for() {
    let yard = Yard::new();
    let what =
        format!("open('outputs/n', 'w').write(str(n))\n{METRIC}\nsys.exit(7 if n < 3 else 0)");
    let source = counting(&yard, &what);

    let options = ["--retries", "3", "--on", "failure", "--retry-delay", "0"];
    let (code, out, err) = run(&yard, &source, &options);

    assert_eq!(code, Some(0), "{err}");
    let expected: String =
        (1..=3).map(|n| format!("attempt {n}\n{{\"name\": \"n\", \"value\": {n}}}\n")).collect();
    assert_eq!(out, expected, "every line of every attempt, once");
    assert!(
        err.contains("attempt 1 ended: the script ended with exit code 7; attempt 2 of 4"),
        "{err}"
    );
    let shown = yard.show("@");
    assert_eq!(reasons(&shown), ["submitted", "script_failed", "script_failed"]);
    assert_eq!(shown["attempts"][0]["exit"]["code"], 7);
    assert_eq!(shown["request"]["retry"]["retries"], 3);
    let points = shown["metrics"]["n"].as_array().unwrap();
    assert_eq!((points.len(), &points[0]["value"]), (1, &3.0.into()), "those of the latest");
    assert!(yard.ok(["logs"]).starts_with("attempt 3\n"));
    assert!(yard.ok(["logs", "--attempt", "1"]).starts_with("attempt 1\n"));
    let copy = yard.home().with_extension("copy");
    yard.ok(["outputs", "--attempt", "2", "@", copy.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(copy.join("outputs/n")).unwrap(), "2");
    let missing = yard.call(["logs", "--attempt", "4"]);
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
    assert!(text(&missing.stderr).contains("has no attempt 4"), "{missing:?}");
    let page = yard.ok(["show"]);
    assert!(page.contains("Attempts\n  1  submitted, "), "{page}");
    yard.ok(["remove", "@"]);
}

#[test]
fn a_script_that_fails_is_left_alone_without_that() {
    let yard = Yard::new();
    let (code, out, _) = run(&yard, &counting(&yard, "sys.exit(7)"), &["--retries", "3"]);
    assert_eq!((code, out.as_str()), (Some(7), "attempt 1\n"));
    assert_eq!(yard.show("@")["attempts"].as_array().unwrap().len(), 1);
}

#[test]
fn the_last_attempt_decides() {
    let yard = Yard::new();
    let source = counting(&yard, "sys.exit(n)");
    let options = ["--retries", "1", "--on", "failure,timeout", "--retry-delay", "0"];
    let id = yard.submit(&source, &options);
    let after = yard.submit(&yard.script("print('next')"), &["--after-any", &id]);
    assert_eq!(yard.call(["wait", &id]).status.code(), Some(2));
    let (first, next) = (yard.show(&id), yard.ended(&after));
    assert!(first["endTimeUtc"].as_str() <= next["startTimeUtc"].as_str(), "{first} {next}");
}

#[test]
fn a_run_whose_supervisor_was_killed_begins_anew_with_its_secrets() {
    let yard = Yard::new();
    let token = yard.home().with_extension("token");
    fs::write(&token, "hunter2-hunter2").unwrap();
    let source = counting(
        &yard,
        "assert os.environ['TOKEN'] == 'hunter2-hunter2'\nopen('left', 'x')\n\
         while n == 1: time.sleep(0.01)",
    );
    let secret = format!("TOKEN={}", token.display());
    let options = ["--retries", "2", "--retry-delay", "0", "--secret", &secret];
    let id = yard.submit(&source, &options);
    wait_until("the script runs", || yard.ok(["logs", &id]) == "attempt 1\n");

    kill_supervisors(&yard, &id);

    let shown = yard.ended(&id);
    assert_eq!(shown["status"], "Completed", "{shown:#}");
    assert_eq!(reasons(&shown), ["submitted", "supervisor_killed"]);
    assert_eq!(yard.ok(["logs", &id]), "attempt 2\n");
    assert_eq!(yard.ok(["logs", &id, "--attempt", "1"]), "attempt 1\n");
    assert_eq!(files_with(&yard.run_directory(&id), "hunter2", "work"), [""; 0]);
}

#[test]
fn a_script_over_its_memory_limit_is_tried_again_on_oom() {
    let yard = Yard::new();
    let source = counting(&yard, "kept = [b'x' * 1_000_000 for _ in range(1000 if n == 1 else 1)]");
    let options = ["--memory", "64m", "--retries", "1", "--on", "oom", "--retry-delay", "0"];
    let (code, _, err) = run(&yard, &source, &options);
    let shown = yard.show("@");
    if shown["attempts"][0]["exit"]["confinement"]["holder"] == "process_tree" {
        eprintln!("\n*** NOT TESTED: this user can have no cgroups here ***\n");
        return;
    }
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(reasons(&shown), ["submitted", "out_of_memory"]);
}

#[test]
fn a_run_that_waits_for_its_next_attempt_outlasts_the_agent_and_can_be_cancelled() {
    let yard = Yard::new();
    let source = counting(&yard, "sys.exit(7)");
    let options = ["--retries", "1", "--on", "failure", "--retry-delay", "1h"];
    let id = yard.submit(&source, &options);
    wait_until("it waits", || waits_for_attempt(&yard, &id, 2));

    yard.kill_agent();

    let why = yard.ok(["explain", &id]);
    assert!(why.contains("waits for attempt 2 of 2 in 59m"), "{why}");
    assert!(why.contains("after script failed"), "{why}");
    assert_eq!(yard.ok(["logs", &id]), "attempt 1\n");
    yard.ok(["cancel", &id]);
    assert_eq!(yard.call(["wait", &id]).status.code(), Some(130));
    let shown = yard.show(&id);
    assert_eq!(
        (&shown["status"], &shown["exit"]["reason"]),
        (&"Canceled".into(), &"cancelled".into())
    );
    assert_eq!(reasons(&shown), ["submitted"]);
}

#[test]
fn attempts_go_on_however_often_the_agent_is_killed() {
    let yard = Yard::new();
    let source = counting(&yard, "sys.exit(7 if n < 6 else 0)");
    let options = ["--retries", "5", "--on", "failure", "--retry-delay", "0"];
    let id = yard.submit(&source, &options);
    let mut state = jiff::Timestamp::now().as_nanosecond().unsigned_abs() as u64 | 1;
    println!("begins with {state}");
    for _ in 0..10 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        yard.ok(["list"]);
        std::thread::sleep(Duration::from_micros(state % 150_000));
        yard.kill_agent();
    }

    let shown = yard.ended(&id);

    assert_eq!(shown["status"], "Completed", "{shown:#}");
    assert_eq!(shown["attempt"]["number"], 6, "{shown:#}");
    for n in 1..=6 {
        let log = yard.ok(["logs", &id, "--attempt", &n.to_string()]);
        assert_eq!(log, format!("attempt {n}\n"), "each attempt once, with its own log");
    }
}

#[test]
fn who_follows_goes_on_through_attempts_and_a_restart() {
    let yard = Yard::new();
    let gate = yard.shared("gate");
    let what = format!(
        "while n == 2 and not os.path.exists({gate:?}): time.sleep(0.01)\nsys.exit(7 if n < 3 else 0)"
    );
    let source = counting(&yard, &what);
    let options = ["--retries", "3", "--on", "failure", "--retry-delay", "1"];
    let id = yard.submit(&source, &options);
    let id = id.as_str();
    let followed = std::thread::scope(|scope| {
        let following = scope.spawn(|| yard.call(["logs", "-f", "--attempt", "1", id]));
        wait_until("the second runs", || yard.ok(["logs", id]) == "attempt 2\n");
        yard.kill_agent();
        yard.ok(["list"]);
        fs::write(&gate, "").unwrap();
        following.join().unwrap()
    });
    assert_eq!(text(&followed.stdout), "attempt 1\nattempt 2\nattempt 3\n");
    let said = text(&followed.stderr);
    assert_eq!(said.matches(" ended: ").count(), 2, "{said}");
}

#[test]
fn the_same_key_is_the_same_run_and_another_submission_is_refused() {
    let yard = Yard::new();
    let source = counting(&yard, "sys.exit(3)");
    let key = ["--idempotency-key", "nightly/2026-11-21"];

    let first = run(&yard, &source, &key);
    let again = run(&yard, &source, &key);
    let other = run(&yard, &source, &[key[0], key[1], "--tag", "a=b"]);

    assert_eq!((first.0, first.1.as_str()), (Some(3), "attempt 1\n"));
    assert_eq!((again.0, again.1.as_str()), (Some(3), "attempt 1\n"), "attached to the same");
    assert!(again.2.contains("submitted before under this key"), "{}", again.2);
    assert!(other.2.contains("stands for run project"), "{}", other.2);
    assert!(other.2.contains("submitted otherwise"), "{}", other.2);
    assert_ne!(other.0, Some(0));
    assert_eq!(yard.json(["list", "--json"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_key_of_submit_is_for_one_run_and_each_table_may_have_its_own() {
    let yard = Yard::new();
    let two = "[[run]]\ncommand = 'true'\nidempotency-key = 'a'\nretries = 2\non = ['oom', 'timeout']\n\
               [[run]]\ncommand = 'true'\nidempotency-key = 'b'\n";
    let source = yard.project("jobs", &[("two.toml", two)]);
    let two = source.join("two.toml");
    let two = two.to_str().unwrap();

    let refused = yard.call(["submit", "--idempotency-key", "c", two]);
    let first = yard.json(["submit", "--json", two]);
    let again = yard.json(["submit", "--json", two]);

    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(text(&refused.stderr).contains("is for one run, and there are 2"), "{refused:?}");
    for index in 0..2 {
        assert_eq!(first[index]["runId"], again[index]["runId"]);
        assert_eq!(
            (&first[index]["existing"], &again[index]["existing"]),
            (&false.into(), &true.into())
        );
    }
    let shown = yard.show(first[0]["runId"].as_str().unwrap());
    assert_eq!(shown["request"]["retry"]["on"], serde_json::json!(["oom", "timeout"]));
}

#[test]
fn retries_that_cannot_be_are_refused_with_what_to_do() {
    let yard = Yard::new();
    let refused = [
        (&["--retries", "0"][..], "0 is not in 1..=100"),
        (&["--retries", "1", "--on", "reboot"], "[possible values: failure, oom, timeout]"),
        (&["--on", "oom"], "--retries <N>"),
        (&["--retries", "1", "--retry-delay", "2h"], "at most 1h"),
        (&["--retries", "1", "--retry-delay", "soon"], "is not a duration"),
        (&["--idempotency-key", "two words"], "without spaces"),
    ];
    let source = yard.script("print('never')");
    for (options, expected) in refused {
        let (code, out, err) = run(&yard, &source, options);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{options:?}: {err}");
        assert!(err.contains(expected), "{options:?}: {err}");
    }
    assert!(!yard.home().join("agent.db").exists(), "no agent was needed to refuse");
}
