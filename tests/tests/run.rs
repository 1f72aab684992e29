//! The first whole path: a script runs from one command, and a record comes out.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;

use serde_json::json;
use tests::{Yard, python, text, wait_until};

const SCRIPT: &str = r#"
import json, os, sys
print("to stdout")
print("to stderr", file=sys.stderr)
print(sys.argv[1:])
open("outputs/model.txt", "w").write("weights")
with open("logs/metrics.jsonl", "a") as metrics:
    for step in range(3):
        metrics.write(json.dumps({"name": "loss", "value": 1.0 / (step + 1), "step": step}) + "\n")
print(json.dumps({"name": "accuracy", "value": 0.5}))
"#;

#[test]
fn run_behaves_like_the_program_it_runs() {
    let yard = Yard::new();
    let source = yard.script(SCRIPT);

    let output = yard
        .trainyard()
        .args(["run", "--source"])
        .arg(&source)
        .arg("--python")
        .arg(python())
        .args(["train.py", "--lr", "0.1", "a b"])
        .output()
        .unwrap();

    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let expected = "to stdout\n['--lr', '0.1', 'a b']\n{\"name\": \"accuracy\", \"value\": 0.5}\n";
    assert_eq!(text(&output.stdout), expected);
    assert!(stderr.contains("to stderr\n"), "{stderr}");
    assert!(stderr.contains("trainyard show @"), "{stderr}");
}

#[test]
fn the_record_holds_what_was_run_and_what_came_of_it() {
    let yard = Yard::new();
    let source = yard.script(SCRIPT);
    let run = yard
        .submit(&source, &["--experiment", "ridge", "--tag", "team=demo", "--name", "first try"]);

    let shown = yard.ended(&run);

    assert_eq!(shown["status"], "Completed");
    assert_eq!(shown["runId"], json!(run));
    assert!(run.starts_with("ridge_"), "{run}");
    assert_eq!(shown["experiment"], "ridge");
    assert_eq!(shown["displayName"], "first try");
    assert_eq!(shown["tags"]["team"], "demo");
    assert_eq!(shown["exit"]["reason"], "completed");
    assert_eq!(shown["exit"]["code"], 0);
    let losses: Vec<_> =
        shown["metrics"]["loss"].as_array().unwrap().iter().map(|m| m["step"].clone()).collect();
    assert_eq!(losses, [0, 1, 2]);
    assert_eq!(shown["metrics"]["accuracy"][0]["value"], 0.5);
    let outputs = shown["outputFiles"].as_array().unwrap();
    let model = outputs.iter().find(|file| file["path"] == "outputs/model.txt").unwrap();
    assert_eq!(model["size"], 7);
    assert_eq!(model["sha256"], json!(snapshots::digest::Digest::of(b"weights").to_string()));
    let snapshot = shown["snapshotId"].as_str().unwrap();
    let copy = source.with_extension("copy");
    yard.ok(["snapshot", "materialize", snapshot, copy.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(copy.join("train.py")).unwrap(), SCRIPT);
}

#[test]
fn show_json_has_every_promised_key() {
    let yard = Yard::new();
    let run = yard.submit(&yard.script("print(1)"), &[]);
    let shown = yard.ended(&run);

    let keys = [
        "schemaVersion",
        "runId",
        "experiment",
        "displayName",
        "status",
        "target",
        "environment",
        "snapshotId",
        "startTimeUtc",
        "endTimeUtc",
        "createdTimeUtc",
        "properties",
        "tags",
        "metrics",
        "exit",
        "attempts",
        "logFiles",
        "outputFiles",
    ];
    for key in keys {
        assert!(shown.get(key).is_some(), "{key} is missing from {shown:#}");
    }
    for key in ["reason", "code", "signal", "message"] {
        assert!(shown["exit"].get(key).is_some(), "exit.{key} is missing from {shown:#}");
    }
}

#[test]
fn list_json_is_an_array_newest_first() {
    let yard = Yard::new();
    let source = yard.script("print(1)");
    let runs: Vec<_> = (0..3).map(|_| yard.submit(&source, &[])).collect();
    for run in &runs {
        yard.ended(run);
    }

    let listed = yard.json(["list", "--json"]);

    let ids: Vec<_> =
        listed.as_array().unwrap().iter().map(|run| run["runId"].as_str().unwrap()).collect();
    assert_eq!(ids, runs.iter().rev().collect::<Vec<_>>());
    assert!(listed[0].get("metrics").is_none(), "the long parts are left out");
}

#[test]
fn a_run_is_found_by_id_prefix_name_and_at_sign() {
    let yard = Yard::new();
    let run = yard.submit(&yard.script("print(1)"), &["--name", "gentle-otter-7"]);
    yard.ended(&run);

    let prefix = &run[..run.len() - 2];
    for reference in [run.as_str(), prefix, "gentle-otter-7", "@"] {
        assert_eq!(yard.show(reference)["runId"], json!(run), "{reference}");
    }
    let unknown = yard.call(["show", "nosuchrun"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("nosuchrun"), "{}", text(&unknown.stderr));
}

#[test]
fn the_script_sees_only_what_is_documented_and_asked_for() {
    let yard = Yard::new();
    let source = yard.script("import json, os\nprint(json.dumps(dict(os.environ)))");
    let output = yard
        .trainyard()
        .env("LEAKED", "from the shell")
        .env("MINE", "taken along")
        .args(["run", "-e", "GIVEN=yes", "-e", "MINE", "--source"])
        .arg(&source)
        .arg("--python")
        .arg(python())
        .arg("train.py")
        .output()
        .unwrap();

    let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();

    assert_eq!(seen["GIVEN"], "yes");
    assert_eq!(seen["MINE"], "taken along");
    assert_eq!(seen["PYTHONUNBUFFERED"], "1");
    assert!(seen["AZUREML_RUN_ID"].as_str().unwrap().contains('_'));
    assert!(seen.get("LEAKED").is_none(), "{seen:#}");
    let online = ["AZUREML_RUN_TOKEN", "AZUREML_SERVICE_ENDPOINT", "AZUREML_ARM_SUBSCRIPTION"];
    for name in online {
        assert!(seen.get(name).is_none(), "{name} would let the Azure SDK call out");
    }
}

#[test]
fn a_rerun_takes_the_same_snapshot_though_the_source_has_changed() {
    let yard = Yard::new();
    let source = yard.script("print('first version')");
    let run = yard.submit(&source, &[]);
    let first = yard.ended(&run);
    fs::write(source.join("train.py"), "print('second version')").unwrap();

    let again = yard.json(["rerun", "-d", "--json", &run])["runId"].as_str().unwrap().to_owned();

    let second = yard.ended(&again);
    assert_eq!(second["snapshotId"], first["snapshotId"]);
    assert_eq!(yard.ok(["logs", &again]), "first version\n");
    assert_ne!(again, run);
}

#[test]
fn what_differs_between_runs_is_one_document() {
    let yard = Yard::new();
    let source = yard.script("print('first version')");
    let one = yard.submit(&source, &["--tag", "lr=1"]);
    yard.ended(&one);
    fs::write(source.join("train.py"), "print('second version')").unwrap();
    let two = yard.submit(&source, &["--tag", "lr=2"]);
    yard.ended(&two);

    let all = yard.json(["diff", &one, &two, "--json"]);
    let expected = serde_json::json!({
        "schemaVersion": 1,
        "old": one,
        "new": two,
        "params": [{"name": "tag lr", "old": "1", "new": "2"}],
        "environment": [],
        "metrics": [],
        "code": [{"path": "train.py", "change": "changed", "from": null}],
    });
    assert_eq!(all, expected);
    let code = yard.json(["diff", &one, &one, "--code", "--json"]);
    assert_eq!(code, serde_json::json!({"schemaVersion": 1, "old": one, "new": one, "code": []}));
}

#[test]
fn outputs_are_copied_out_and_nothing_is_overwritten() {
    let yard = Yard::new();
    let run = yard.submit(&yard.script(SCRIPT), &[]);
    yard.ended(&run);
    let destination = yard.home().with_file_name("taken");
    let destination = destination.to_str().unwrap();

    yard.ok(["outputs", &run, destination]);

    let found = fs::read_to_string(format!("{destination}/outputs/model.txt"))
        .or_else(|_| fs::read_to_string(format!("{destination}/model.txt")));
    assert_eq!(found.unwrap(), "weights");
    let again = yard.call(["outputs", &run, destination]);
    assert_ne!(again.status.code(), Some(0), "a second copy must not overwrite the first");
}

#[test]
fn what_is_no_output_is_said_and_what_is_copied_is_a_plain_file() {
    let script = r#"
import os, socket
os.chdir("outputs")
os.symlink("/etc/passwd", "link"); os.symlink("/etc", "linked-directory")
open("one", "w").close(); os.link("one", "two"); os.mkfifo("fifo")
socket.socket(socket.AF_UNIX).bind("socket")
with open("sparse", "wb") as sparse: sparse.truncate(1 << 24)
open("tool", "w").close(); os.chmod("tool", 0o6755)
open(b"\xff", "w").close()
os.makedirs("/".join(["d"] * 70)); open("/".join(["d"] * 70) + "/deep", "w").close()
for number in range(200): os.symlink("/", f"../logs/{number:03}")
"#;
    let yard = Yard::new();
    let run = yard.submit(&yard.script(script), &[]);

    let shown = yard.ended(&run);

    let warnings: Vec<_> =
        shown["warnings"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let deep = format!("outputs/{}", ["d"; 64].join("/"));
    let expected = [
        (deep.as_str(), "is too deep inside"),
        ("outputs/fifo", "is a FIFO"),
        ("outputs/link", "is a symbolic link"),
        ("outputs/linked-directory", "is a symbolic link"),
        ("outputs/one", "has other names (hard links)"),
        ("outputs/socket", "is a socket"),
        ("outputs/two", "has other names (hard links)"),
        ("logs/000", "is a symbolic link"),
    ];
    for (warning, (path, why)) in warnings.iter().zip(expected) {
        assert_eq!(*warning, format!("{path:?} {why}: not collected"));
    }
    assert_eq!((warnings.len(), warnings[100]), (101, "107 more: not collected"));
    let destination = yard.home().with_file_name("taken");
    yard.ok(["outputs", &run, destination.to_str().unwrap()]);
    let mode = |name: &[u8]| {
        let path = destination.join("outputs").join(OsStr::from_bytes(name));
        fs::symlink_metadata(path).unwrap().mode()
    };
    for name in [b"tool".as_slice(), b"sparse", b"\xff"] {
        assert_eq!(mode(name) & 0o177_111, 0o100_000, "{name:?}");
    }
    assert_eq!(fs::read_dir(destination.join("outputs")).unwrap().count(), 3);
}

#[test]
fn a_file_that_came_with_the_snapshot_is_not_an_output() {
    let yard = Yard::new();
    let script = "open('outputs/new.txt', 'w').write('new')\nopen('outputs/changed.txt', 'w').write('changed')";
    let files =
        [("train.py", script), ("outputs/old.txt", "old"), ("outputs/changed.txt", "before")];
    let run = yard.submit(&yard.project("carried", &files), &[]);

    let shown = yard.ended(&run);

    let mut paths: Vec<_> = shown["outputFiles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["path"].as_str().unwrap())
        .collect();
    paths.sort_unstable();
    assert_eq!(paths, ["outputs/changed.txt", "outputs/new.txt"]);
}

#[test]
fn a_shell_line_runs_in_place_of_a_script() {
    let yard = Yard::new();
    let source = yard.script("print('unused')");
    let output = yard
        .trainyard()
        .args(["run", "--source"])
        .arg(&source)
        .arg("--python")
        .arg(python())
        .args(["--command", "echo one && echo two >&2; exit 3"])
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "one\n");
}

#[test]
fn a_running_run_says_since_when() {
    let yard = Yard::new();
    let run = yard.submit(&yard.script("import time\nprint('on')\ntime.sleep(600)"), &[]);
    wait_until("the script runs", || yard.ok(["logs", &run]) == "on\n");

    let shown = yard.show(&run);

    assert_eq!(shown["status"], "Running");
    assert!(shown["startTimeUtc"].is_string(), "{shown:#}");
    yard.ok(["cancel", "--now", &run]);
    yard.ended(&run);
}
