//! The queue, through the binary: what waits for what, and who goes first.

use tests::{Yard, text};

/// A yard where one run is on at a time.
fn yard() -> Yard {
    let yard = Yard::new();
    yard.configure("[agent]\nmax-runs = 1\n");
    yard
}

/// What a run waits for, in a word.
fn waits_for(yard: &Yard, run: &str) -> String {
    yard.show(run)["waitsFor"]["for"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_held_run_waits_in_nobodys_way_until_it_is_released() {
    let yard = yard();
    let source = yard.script("print('fine')");
    let held = yard.submit(&source, &["--hold", "--priority", "9"]);
    assert_eq!(waits_for(&yard, &held), "release");
    assert!(yard.ok(["explain", &held]).contains("until somebody releases it"));

    let other = yard.submit(&source, &[]);
    assert_eq!(yard.ended(&other)["status"], "Completed");
    assert_eq!(yard.show(&held)["status"], "Queued");
    // It is still held by the next agent.
    yard.kill_agent();
    assert_eq!(waits_for(&yard, &held), "release");

    yard.ok(["queue", "release", &held]);
    assert_eq!(yard.ended(&held)["status"], "Completed");
    let refused = yard.call(["queue", "hold", &held]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("waits for nothing any more"), "{refused:?}");
}

#[test]
fn runs_go_by_priority_and_the_list_says_in_which_order() {
    let yard = yard();
    let source = yard.script("print('fine')");
    let gate = yard.submit(&source, &["--hold"]);
    let runs = [("low", "-1"), ("usual", "0"), ("high", "1")].map(|(name, priority)| {
        yard.submit(&source, &["--name", name, "--priority", priority, "--after", &gate])
    });
    yard.ok(["queue", "priority", "usual", "5"]);
    let listed = yard.json(["queue", "list", "--json"]);
    assert_eq!(listed.as_array().unwrap().len(), 4);
    assert_eq!(waits_for(&yard, "low"), "runs");

    yard.ok(["queue", "release", &gate]);

    let started = |run: &String| {
        let ended = yard.ended(run);
        assert_eq!(ended["status"], "Completed");
        ended["startTimeUtc"].as_str().unwrap().to_owned()
    };
    let [low, usual, high] = runs.each_ref().map(started);
    assert!(usual < high && high < low, "{usual} {high} {low}");
}

#[test]
fn who_waits_for_a_run_that_fails_ends_too_and_wait_says_so() {
    let yard = yard();
    let source = yard
        .project("chain", &[("train.py", "import sys; sys.exit(3)"), ("next.py", "print('next')")]);
    let first = yard.submit(&source, &["--hold"]);
    let vain = yard.submit(&source, &["--after", &first]);
    let any = yard.submit(&source, &["--after-any", &format!("{first},{vain}")]);
    yard.ok(["queue", "release", &first]);

    assert_eq!(yard.call(["wait", &first]).status.code(), Some(3));
    assert_eq!(yard.call(["wait", &vain]).status.code(), Some(125));
    let shown = yard.ended(&vain);
    assert_eq!(
        (&shown["status"], &shown["exit"]["reason"]),
        (&"Canceled".into(), &"dependency_failed".into())
    );
    assert!(shown["exit"]["message"].as_str().unwrap().starts_with(&first));
    // This one does not mind how they ended.
    assert_eq!(yard.ended(&any)["exit"]["reason"], "script_failed");
}

#[test]
fn what_a_run_is_to_wait_for_must_be_there() {
    let yard = yard();
    let source = yard.script("print('fine')");
    let output = yard
        .trainyard()
        .args(["run", "-d", "--after", "nobody", "--source"])
        .arg(&source)
        .arg("train.py")
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("no run is named \"nobody\""), "{output:?}");
    assert_eq!(yard.json(["list", "--json"]).as_array().unwrap().len(), 0);
}
