//! One project here and on a machine over SSH: the same results and the same record.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::attached::{AttachedYard, NAME};
use tests::channel::channel_in;
use tests::engine::BASE_IMAGE;
use tests::text;
use tests::vm::VmOptions;
use tests::wheel::{wheel, with_wheels};

/// Trains a line by hand and leaves metrics, both streams, outputs and an exit code.
const SCRIPT: &str = r#"
import json, os, random, sys
try:
    import small
    print("small", small.VERSION, flush=True)
except ImportError:
    print("alone", flush=True)
random.seed(7130)
points = [(x, 3 * x + 1 + random.uniform(-1, 1)) for x in (random.random() for _ in range(200))]
slope = shift = 0.0
with open("logs/metrics.jsonl", "a") as metrics:
    for step in range(50):
        errors = [slope * x + shift - y for x, y in points]
        slope -= 0.5 * sum(e * x for e, (x, _) in zip(errors, points)) / len(points)
        shift -= 0.5 * sum(errors) / len(points)
        loss = sum(e * e for e in errors) / len(points)
        metrics.write(json.dumps({"name": "loss", "value": loss, "step": step}) + "\n")
        if step % 10 == 0:
            print(json.dumps({"name": "slope", "value": slope}), flush=True)
            print("step", step, file=sys.stderr, flush=True)
os.write(1, bytes(range(256)) + b" no newline")
os.makedirs("outputs/deep", exist_ok=True)
with open("outputs/deep/model.json", "w") as file:
    json.dump({"slope": slope, "shift": shift}, file)
with open("outputs/noise.bin", "wb") as file:
    file.write(random.randbytes(300_000))
sys.exit(int(sys.argv[1]))
"#;

/// What of a record is another each time, or says where the run was.
const OWN: [&str; 8] = [
    "runId",
    "displayName",
    "target",
    "runDirectory",
    "environment",
    "environmentName",
    "interpreter",
    "prefix",
];

/// What a run came to.
#[derive(Debug, PartialEq)]
struct Results {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    record: Value,
}

/// Runs the project with `options` and returns what it came to.
fn run(yard: &AttachedYard, source: &Path, options: &[&str]) -> Results {
    let mut command = yard.trainyard();
    command.args(["run", "--source"]).arg(source).args(options).args(["train.py", "3"]);
    let output = command.current_dir(source).output().unwrap();
    eprintln!("{options:?}: {}", text(&output.stderr));
    let shown = yard.show("@");
    assert_eq!(shown["outputFiles"].as_array().unwrap().len(), 3, "{shown:#}");
    assert_eq!(shown["metrics"]["loss"].as_array().unwrap().len(), 50, "{shown:#}");
    let stream = |name: &str| {
        let output = yard.call(["logs", "--stream", name, "@"]);
        [output.stdout, output.stderr].concat().escape_ascii().to_string()
    };
    Results {
        code: output.status.code(),
        stdout: stream("stdout"),
        stderr: stream("stderr"),
        record: masked(shown),
    }
}

/// Replaces what is no part of a comparison; that it is there, is.
fn masked(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let own = |name: &str, value: &Value| {
                let is_time = name.to_lowercase().contains("time") || name.contains("Seconds");
                // What holds a run depends on who it is of: of root here, of a user there; and how
                // much of a sandbox there is on what is installed.
                ["confinement", "sandbox"].contains(&name)
                    || !value.is_null() && !value.is_object() && (is_time || OWN.contains(&name))
            };
            let fields = fields.into_iter();
            fields
                .map(|(name, value)| match own(&name, &value) {
                    true => (name, "masked".into()),
                    false => (name, masked(value)),
                })
                .collect()
        }
        Value::Array(values) => values.into_iter().map(masked).collect(),
        value => value,
    }
}

/// Runs the project here and there: all must be the same, but for the fields `own` of what was
/// prepared, for which each machine has its own Python. Returns the record of the run there.
#[track_caller]
fn assert_same(yard: &AttachedYard, source: &Path, options: &[&str], own: &[&str]) -> Value {
    let mut here = run(yard, source, options);
    let mut there = run(yard, source, &[&["--target", NAME], options].concat());
    assert_eq!(here.code, Some(3));
    similar(&here.stdout, &there.stdout);
    similar(&here.stderr, &there.stderr);
    for field in own {
        for run in [&mut here, &mut there] {
            *run.record["preparedEnvironment"].get_mut(field).unwrap() = "masked".into();
        }
    }
    similar(&format!("{:#}", here.record), &format!("{:#}", there.record));
    assert_eq!(here, there);
    yard.show("@")
}

/// Compares texts by lines, which tells more where they differ.
#[track_caller]
fn similar(here: &str, there: &str) {
    let here: BTreeSet<_> = here.lines().collect();
    let there: BTreeSet<_> = there.lines().collect();
    let differ: Vec<_> = here.symmetric_difference(&there).collect();
    assert!(differ.is_empty(), "{differ:#?}");
}

/// Copies `wheels` there, and has pip take them in place of an index.
fn take_wheels_there(home: &Path, wheels: &Path) {
    let there = home.join("wheels");
    fs::create_dir(&there).unwrap();
    for wheel in fs::read_dir(wheels).unwrap().flatten() {
        fs::copy(wheel.path(), there.join(wheel.file_name())).unwrap();
    }
    let directory = home.join(".config/pip");
    fs::create_dir_all(&directory).unwrap();
    let text = format!("[global]\nno-index = true\nfind-links = {}\n", there.display());
    fs::write(directory.join("pip.conf"), text).unwrap();
}

#[test]
fn a_run_there_is_as_one_here_but_for_its_target() {
    // Its user's home is at the same path on this machine.
    let Some(yard) = AttachedYard::new(VmOptions { docker: true, ..VmOptions::default() }) else {
        return;
    };
    let home = yard.vm.user_home();
    let wheels = yard.project("wheels", &[]);
    wheel(&wheels, "small", "1.2.3");
    take_wheels_there(&home, &wheels);
    yard.kill_agent();
    assert!(with_wheels(&yard).arg("list").status().unwrap().success());
    let conda =
        format!("channels: [{}]\ndependencies: [python]\n", channel_in(&home.join("channel"), ""));
    let files = [
        ("train.py", SCRIPT),
        ("requirements.txt", "small==1.2.3\n"),
        ("conda.yml", conda.as_str()),
    ];
    let source = yard.project("project", &files);

    assert_same(&yard, &source, &["--python", "python3"], &["name", "pythonVersion", "packages"]);

    let shown = assert_same(&yard, &source, &["--docker", BASE_IMAGE], &[]);
    assert!(shown["preparedEnvironment"]["image"]["id"].is_string(), "{shown:#}");

    let shown = assert_same(
        &yard,
        &source,
        &["--env", "requirements.txt", "--python", "python3"],
        &["key", "name", "pythonVersion", "packages"],
    );
    assert!(shown["preparedEnvironment"]["packages"].to_string().contains("1.2.3"), "{shown:#}");
    let log = yard.call(["logs", "@"]).stdout;
    assert!(log.starts_with(b"small 1.2.3\n"), "{}", text(&log));

    let shown = assert_same(&yard, &source, &["--env", "conda.yml"], &["key", "name"]);
    assert_eq!(shown["preparedEnvironment"]["reused"], false, "{shown:#}");

    yard.wait_until_nothing_is_left();
}
