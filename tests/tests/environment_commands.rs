//! `trainyard env` and what else tells of environments: names, keys, `--fresh`, clean-up by bytes.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::wheel::{wheel, with_wheels};
use tests::{Yard, text, wait_until};

const SCRIPT: &str = "import yardtest; print(yardtest.VERSION)";

/// A project that asks for `requirement`, with wheels of `versions` to be found.
fn project(yard: &Yard, name: &str, requirement: &str, versions: &[&str]) -> PathBuf {
    let wheels = yard.project("wheels", &[]);
    for version in versions {
        wheel(&wheels, "yardtest", version);
    }
    yard.project(name, &[("train.py", SCRIPT), ("requirements.txt", requirement)])
}

/// Runs the binary in `place`, which must succeed, and returns what it says.
#[track_caller]
fn ok(yard: &Yard, place: &Path, arguments: &[&str]) -> String {
    let output = with_wheels(yard).args(arguments).current_dir(place).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn environments(yard: &Yard) -> Vec<Value> {
    yard.json(["env", "list", "--json"]).as_array().unwrap().clone()
}

#[test]
fn an_unpinned_dependency_is_resolved_once_and_again_with_fresh() {
    let yard = Yard::new();
    let source = project(&yard, "loose", "yardtest\n", &["1.0"]);
    let run = ["run", "--env", "requirements.txt", "train.py"];
    assert_eq!(ok(&yard, &source, &run), "1.0\n");

    wheel(&yard.project("wheels", &[]), "yardtest", "2.0");
    assert_eq!(ok(&yard, &source, &run), "1.0\n", "as it was resolved");
    let fresh = ["run", "--env", "requirements.txt", "--fresh", "train.py"];
    assert_eq!(ok(&yard, &source, &fresh), "2.0\n");
    assert_eq!(ok(&yard, &source, &run), "2.0\n", "as it was resolved last");

    let lock = yard.show("@")["preparedEnvironment"]["lock"].to_string();
    assert!(lock.contains("yardtest==2.0"), "the run records what was resolved: {lock}");
}

#[test]
fn a_registered_name_stands_for_what_it_was_given() {
    let yard = Yard::new();
    let source = project(&yard, "given", "yardtest==1.0\n", &["1.0"]);
    let elsewhere = yard.project("elsewhere", &[("train.py", SCRIPT)]);

    ok(&yard, &source, &["env", "register", "trainer", "requirements.txt"]);

    let run = ["run", "--env", "trainer", "train.py"];
    assert_eq!(ok(&yard, &elsewhere, &run), "1.0\n");
    let unknown = yard
        .trainyard()
        .current_dir(&elsewhere)
        .args(["run", "--env", "trainr", "train.py"])
        .output();
    let unknown = unknown.unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("trainr"), "{}", text(&unknown.stderr));
}

#[test]
fn explain_says_what_went_into_a_key_and_what_differs() {
    let yard = Yard::new();
    let one = project(&yard, "one", "# a comment\nyardtest==1.0\n", &["1.0", "2.0"]);
    let same = project(&yard, "same", "yardtest==1.0 # another\n\n", &[]);
    let other = project(&yard, "other", "yardtest==2.0\n", &[]);
    let run = ["run", "--env", "requirements.txt", "train.py"];
    for source in [&one, &same, &other] {
        ok(&yard, source, &run);
    }
    assert_eq!(environments(&yard).len(), 2, "comments are no part of a key");

    let explained = ok(&yard, &one, &["env", "explain", "requirements.txt"]);
    assert!(explained.contains("yardtest==1.0"), "{explained}");
    assert!(!explained.contains("comment"), "{explained}");
    let file = other.join("requirements.txt");
    let differs = ok(&yard, &one, &["env", "explain", "requirements.txt", file.to_str().unwrap()]);
    assert!(differs.contains("yardtest==1.0") && differs.contains("yardtest==2.0"), "{differs}");
}

#[test]
fn show_and_remove_take_the_beginning_of_a_key() {
    let yard = Yard::new();
    let source = project(&yard, "shown", "yardtest==1.0\n", &["1.0"]);
    ok(&yard, &source, &["env", "build", "requirements.txt"]);
    let key = environments(&yard)[0]["key"].as_str().unwrap().to_owned();

    let shown = ok(&yard, &source, &["env", "show", &key[..8]]);
    assert!(shown.contains("yardtest==1.0"), "{shown}");
    assert!(!ok(&yard, &source, &["env", "show", &key[..8], "--log"]).is_empty());
    ok(&yard, &source, &["env", "register", "named:1", "requirements.txt"]);
    let removed = ok(&yard, &source, &["env", "remove", "--json", "named", &key[..8]]);
    let removed: Value = serde_json::from_str(&removed).unwrap();
    let expected = serde_json::json!({
        "schemaVersion": 1,
        "removed": [
            {"kind": "name", "name": "named", "versions": 1},
            {"kind": "environment", "key": &key[..8]},
        ],
    });
    assert_eq!(removed, expected);
    assert!(environments(&yard).is_empty());
    assert_eq!(yard.call(["env", "show", &key[..8]]).status.code(), Some(2));
}

#[test]
fn gc_removes_the_least_recently_used_beyond_the_limit_and_shows_it_first() {
    let yard = Yard::new();
    let older = project(&yard, "older", "yardtest==1.0\n", &["1.0", "2.0"]);
    let newer = project(&yard, "newer", "yardtest==2.0\n", &[]);
    let run = ["run", "--env", "requirements.txt", "train.py"];
    ok(&yard, &older, &run);
    ok(&yard, &newer, &run);
    let built = environments(&yard);
    assert_eq!(built.len(), 2);
    let newest = built[0].clone();
    let limit = (newest["bytes"].as_u64().unwrap() + 1000).to_string();

    let gc = ["gc", "--environments", &limit];
    let planned = yard.ok([&gc[..], &["--dry-run", "--json"]].concat());
    assert_eq!(environments(&yard).len(), 2, "a dry run removes nothing");
    let oldest = built[1]["key"].as_str().unwrap();
    assert!(planned.contains(oldest), "{planned}");
    yard.ok(gc);

    let left = environments(&yard);
    assert_eq!(left.len(), 1, "{left:#?}");
    assert_eq!(left[0]["key"], newest["key"]);
    assert_eq!(ok(&yard, &older, &run), "1.0\n", "it is built again when it is needed");

    // The one before last goes by itself where the limit is a setting.
    yard.ok(["agent", "stop"]);
    yard.configure(&format!("[environments]\nmax-bytes = {limit}\n"));
    yard.ok(["list"]);
    wait_until("an environment is removed", || environments(&yard).len() == 1);
    assert_eq!(environments(&yard)[0]["key"].as_str(), Some(oldest));
}
