//! What holds for the whole command line: help texts, usage errors, manual pages.

use super::*;

/// A run as the agent shows it.
pub(super) fn run_document() -> serde_json::Value {
    serde_json::json!({
        "schemaVersion": 1,
        "runId": "diabetes_1795261800_0a1b2c3d",
        "experiment": "diabetes",
        "displayName": "swift-otter-12",
        "status": "Completed",
        "position": null,
        "target": "local",
        "environment": "requirements.txt",
        "commandLine": "train.py --lr 0.1",
        "snapshotId": "8f3a1c2d".repeat(8),
        "startTimeUtc": "2026-11-21T11:50:01Z",
        "endTimeUtc": "2026-11-21T11:51:13Z",
        "createdTimeUtc": "2026-11-21T11:50:00Z",
        "tags": {"team": "blue"},
        "exit": {
            "reason": "completed", "code": 0, "signal": null,
            "message": "completed", "processExitCode": 0
        },
        "properties": {
            "azureml.git.branch": "main",
            "azureml.git.commit": "9bd01f2c".repeat(5),
            "azureml.git.dirty": "True"
        },
        "metrics": {
            "loss": [
                {"step": 1, "value": 0.52, "timeUtc": "2026-11-21T11:50:10Z"},
                {"step": 2, "value": 0.31, "timeUtc": "2026-11-21T11:51:10Z"}
            ],
            "rows": [{"step": null, "value": 442.0, "timeUtc": "2026-11-21T11:50:02Z"}]
        },
        "attempts": [{
            "number": 1, "reason": "submitted", "startTimeUtc": "2026-11-21T11:50:00Z",
            "endTimeUtc": "2026-11-21T11:51:13Z", "exit": null
        }],
        "logFiles": ["user_logs/std_log.txt"],
        "outputFiles": [
            {"path": "outputs/model.pkl", "size": 4_100_000, "sha256": "00".repeat(32)}
        ],
        "preparedEnvironment": {
            "key": "5e1f20ab".repeat(8), "name": "requirements.txt → venv 5e1f20ab",
            "interpreter": "/env/bin/python", "pythonVersion": "3.11.7", "prefix": "/env",
            "reused": true, "packages": []
        },
        "warnings": [],
        "runDirectory": "/state/runs/diabetes_1795261800_0a1b2c3d",
        "request": {
            "experiment": "diabetes",
            "script": "train.py",
            "arguments": ["--lr", "0.1"],
            "target": "local",
            "environment": {
                "kind": "requirements", "interpreter": "/usr/bin/python3",
                "files": [{"name": "requirements.txt", "text": "scikit-learn\n"}]
            },
            "environmentName": "requirements.txt",
            "environmentVariables": {"SEED": "1"},
            "tags": {"team": "blue"},
            "snapshotId": "8f3a1c2d".repeat(8),
            "sourceDirectory": "/home/me/diabetes"
        }
    })
}

/// A target with all places taken.
pub(super) fn busy_target() -> crate::api::wire::target::Target {
    serde_json::from_value(serde_json::json!({
        "schemaVersion": 1, "name": "local", "type": "local",
        "places": 4, "queued": 3, "running": 4
    }))
    .unwrap()
}

/// Every command with its path, depth first.
fn all_commands() -> Vec<(String, clap::Command)> {
    fn walk(path: &str, command: &clap::Command, all: &mut Vec<(String, clap::Command)>) {
        all.push((path.to_owned(), command.clone()));
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            walk(&format!("{path} {}", inner.get_name()), inner, all);
        }
    }
    let mut all = Vec::new();
    let mut command = command().term_width(100);
    command.build();
    walk("trainyard", &command, &mut all);
    all
}

#[test]
fn the_tree_of_commands_is_sound() {
    command().debug_assert();
}

#[test]
fn every_help_text() {
    let texts: Vec<_> = all_commands()
        .into_iter()
        .map(|(path, mut command)| format!("# {path}\n\n{}", command.render_long_help()))
        .collect();
    insta::assert_snapshot!("help", texts.join("\n\n"));
}

#[test]
fn every_command_that_does_something_shows_an_example() {
    for (path, command) in all_commands() {
        let is_leaf = command.get_subcommands().all(|inner| inner.get_name() == "help");
        if is_leaf && !command.is_hide_set() {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.contains(&path), "{path}: {after}");
        }
    }
}

#[test]
fn what_comes_after_the_script_is_the_scripts() {
    for (typed, script) in [
        (&["train.py", "--lr", "0.1"][..], &["train.py", "--lr", "0.1"][..]),
        (&["train.py", "--name", "x", "-d"], &["train.py", "--name", "x", "-d"]),
        (&["--", "train.py", "-h"], &["train.py", "-h"]),
        (&["-d", "--", "-train.py"], &["-train.py"]),
        (&["train.py", "--", "x"], &["train.py", "--", "x"]),
    ] {
        let arguments = ["trainyard", "run"].iter().chain(typed);
        let Command::Run(args) = Cli::try_parse_from(arguments).unwrap().command else {
            panic!("not a run")
        };
        assert_eq!(args.words(), script, "{typed:?}");
    }
}

#[test]
fn bad_usage_is_refused_with_exit_code_2() {
    for typed in [
        &["run", "--no-such-option", "train.py"][..],
        &["run", "--command", "make", "train.py"],
        &["fly"],
        &["logs", "-n", "many"],
        &["logs", "-n", "5", "--since", "7"],
        &["cancel"],
        &["snapshot"],
        &["completions", "tcsh"],
        &["outputs", "@", "--force"],
    ] {
        let arguments = ["trainyard"].iter().chain(typed);
        let error = Cli::try_parse_from(arguments).expect_err("must be refused");
        assert_eq!(refuse_code(&error), Exit::USAGE.0, "{typed:?}");
    }
    for typed in [&["--help"][..], &["--version"], &["run", "-h"], &["help", "run"]] {
        let arguments = ["trainyard"].iter().chain(typed);
        let error = Cli::try_parse_from(arguments).expect_err("shows a text");
        assert_eq!(refuse_code(&error), Exit::OK.0, "{typed:?}");
    }
}

#[test]
fn aliases_lead_to_their_commands() {
    for (alias, name) in [("ps", "list"), ("rm", "remove")] {
        let found = command();
        let found = found.find_subcommand(alias).expect(alias);
        assert_eq!(found.get_name(), name);
    }
}
