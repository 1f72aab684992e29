//! Job files of our own, through the binary.

use tests::{Yard, text};

#[test]
fn a_file_of_several_runs_is_handed_in_whole_and_in_order() {
    let yard = Yard::new();
    let jobs = r#"
        [[run]]
        name = "prepare"
        command = "echo prepared > outputs/data.txt"

        [[run]]
        name = "train"
        script = "train.py"
        arguments = ["--lr", 0.1, "two words"]
        env-var = { SEED = 7 }
        tag = { sweep = "lr" }
        after = ["prepare"]
    "#;
    let train = "import os, sys\nprint(sys.argv[1:], os.environ['SEED'])";
    let source = yard.project("jobs", &[("jobs.toml", jobs), ("train.py", train)]);

    let output = yard.call(["submit", "--json", source.join("jobs.toml").to_str().unwrap()]);

    let submitted: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(submitted.as_array().unwrap().len(), 2);
    let said = text(&output.stderr);
    assert_eq!(said.matches("Snapshot").count(), 1, "both have the same: {said}");
    assert_eq!(yard.call(["wait", "prepare", "train"]).status.code(), Some(0));
    assert_eq!(yard.ok(["logs", "train"]).trim(), "['--lr', '0.1', 'two words'] 7");
    let (prepare, train) = (yard.show("prepare"), yard.show("train"));
    assert_eq!(train["tags"]["sweep"], "lr");
    assert_eq!(train["snapshotId"], prepare["snapshotId"]);
    assert!(prepare["endTimeUtc"].as_str() <= train["startTimeUtc"].as_str());
}

#[test]
fn a_file_with_one_wrong_run_hands_in_none() {
    let yard = Yard::new();
    let jobs = "[[run]]\nscript = 'train.py'\n[[run]]\nscript = 'train.py'\nepochs = 3\n";
    let source = yard.project("jobs", &[("jobs.toml", jobs), ("train.py", "")]);

    let refused = yard.call(["submit", source.join("jobs.toml").to_str().unwrap()]);

    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let said = text(&refused.stderr);
    assert!(said.contains("run 2: unknown key \"epochs\""), "{said}");
    assert!(!yard.home().join("agent.db").exists(), "no agent was needed to refuse");
}
