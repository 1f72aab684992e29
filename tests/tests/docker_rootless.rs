//! Engines without root: runs, builds and cancel work, what is written belongs to the user, and
//! limits that do not hold are said.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tests::engine::{BASE_IMAGE, docker};
use tests::own_engine::{OwnEngine, ROOTLESS_USER, trainyard_without_root};
use tests::{Yard, text, wait_until};

/// Writes files as scripts do, and says who it is.
const WRITES: &str = "
import os
os.makedirs('outputs/deep')
for name in ['outputs/model', 'outputs/deep/private', 'logs/log', 'beside']:
    with open(name, 'w') as file:
        file.write('written')
os.chmod('outputs/deep/private', 0o600)
print(os.getuid(), os.path.exists('/built'), flush=True)
if os.path.exists('waits'):
    import time
    time.sleep(1000)
";

struct Rootless {
    yard: Yard,
    engine: OwnEngine,
}

impl Rootless {
    fn start() -> Option<Self> {
        let engine = OwnEngine::rootless()?;
        let yard = Yard::new();
        // The yard is reached through where temporary files are, which is everybody's.
        fs::set_permissions(yard.home().parent().unwrap(), fs::Permissions::from_mode(0o755))
            .unwrap();
        Some(Self { yard, engine })
    }

    fn trainyard(&self) -> Command {
        let mut command = trainyard_without_root(&self.yard);
        command.env("DOCKER_HOST", self.engine.host());
        command
    }

    fn call(&self, arguments: &[&str]) -> Output {
        self.trainyard().args(arguments).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.call(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    #[track_caller]
    fn show(&self, run: &str) -> Value {
        serde_json::from_str(&self.ok(&["show", "--json", run])).unwrap()
    }
}

impl Drop for Rootless {
    fn drop(&mut self) {
        drop(self.trainyard().args(["cancel", "--now", "@"]).output());
        drop(self.trainyard().args(["agent", "stop"]).output());
    }
}

fn owners(directory: &Path, found: &mut Vec<u32>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        found.push(fs::symlink_metadata(&path).unwrap().uid());
        if path.is_dir() {
            owners(&path, found);
        }
    }
}

#[test]
fn runs_builds_and_cancel_work_without_root() {
    let Some(rootless) = Rootless::start() else { return };
    refuses_root(&rootless.engine);
    let dockerfile = format!("FROM {BASE_IMAGE}\nRUN id -u >/built\nUSER 1234:1234\n");
    let files = [("train.py", WRITES), ("Dockerfile", dockerfile.as_str())];
    let source = rootless.yard.project("source", &files);
    let source = source.to_str().unwrap();
    let limits = ["--network", "none", "--memory", "64m", "--cpus", "1"];

    let image = ["run", "--docker", BASE_IMAGE, "--source", source];
    let output = rootless.call(&[&image[..], &limits[..], &["train.py"]].concat());
    assert_eq!(text(&output.stdout), "0 False\n");
    let shown = rootless.show("@");
    let warnings = shown["warnings"].to_string();
    // Version 2 of cgroups lets a user's engine limit some of it.
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        let lost = "the container has no limit on memory, processor time, processes";
        assert!(warnings.contains(lost), "{shown:#}");
        assert!(text(&output.stderr).contains(lost), "{}", text(&output.stderr));
        let doctor = rootless.call(&["doctor"]);
        let doctor = text(&doctor.stdout);
        assert!(doctor.contains("none on memory, processor time"), "{doctor}");
    }
    let run = rootless.yard.run_directory(shown["runId"].as_str().unwrap());
    let mut found = Vec::new();
    owners(&run, &mut found);
    assert!(found.len() > 10 && found.iter().all(|&uid| uid == ROOTLESS_USER), "{found:?}");

    // The user that an image names is nobody who may write here.
    let built = ["run", "--env", "Dockerfile", "--source", source, "--network", "none"];
    let printed = rootless.ok(&[&built[..], &["train.py"]].concat());
    assert_eq!(printed, "0 True\n");

    fs::write(Path::new(source).join("waits"), "").unwrap();
    rootless.ok(&[&image[..], &["-d", "--network", "none", "train.py"]].concat());
    wait_until("the script runs", || rootless.ok(&["logs", "@"]) == "0 False\n");
    rootless.ok(&["cancel", "@"]);
    assert_eq!(rootless.call(&["wait", "@"]).status.code(), Some(130));
    assert_eq!(containers(&rootless.engine), "", "a run is over when its container is gone");
}

/// Root's runs do not get into the engine of another user.
fn refuses_root(engine: &OwnEngine) {
    let yard = Yard::new();
    let output = yard
        .trainyard()
        .env("DOCKER_HOST", engine.host())
        .args(["run", "--docker", BASE_IMAGE, "--network", "none", "--source"])
        .arg(yard.script("print('ran')"))
        .arg("train.py")
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(125));
    let said = text(&output.stderr);
    assert!(said.contains("runs without root as the user 1234567"), "{said}");
    assert!(said.contains("start the agent as that user"), "{said}");
    assert_eq!(text(&output.stdout), "");
    assert_eq!(containers(engine), "");
}

fn containers(engine: &OwnEngine) -> String {
    docker(["-H", &engine.host(), "ps", "-aq", "--filter", "label=trainyard.run"])
}
