//! A full disk under the agent, and builds that hang.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Workspace, call, python};

/// The disk is to be full before the agent minds.
const NOTHING_KEPT: (&str, &str) = ("TRAINYARD_DISK_MIN_FREE", "0");

/// A small file system of its own, which goes with this.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where that is not allowed.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs"]).arg(at);
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then(|| Self(at.to_owned()))
    }

    /// Takes all that is left, and returns how to give it back.
    fn fill(&self) -> PathBuf {
        use std::io::Write;
        let path = self.0.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        for size in [65536, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_full_disk_is_said_and_ends_nothing() {
    // Outlives the workspace.
    let disk;
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    match SmallDisk::mount(&workspace.home()) {
        Some(mounted) => disk = mounted,
        // Only root can mount.
        None => return,
    }
    workspace.start_with(&[NOTHING_KEPT]);
    let (submission, gate) = workspace.gated("echo over");
    let on = workspace.submit(&submission);
    workspace.wait(&on, |run| run["status"] == "Running");
    let mut large = workspace.submission("true");
    large["arguments"] = json!(["x".repeat(400_000)]);
    let quick = workspace.submission("true");

    let filler = disk.fill();
    let refused = workspace.post("/v1/runs", &large);
    let listed = workspace.get("/v1/runs").json();
    std::fs::remove_file(filler).unwrap();

    assert_eq!(refused.status, 507, "{refused:?}");
    let error = &refused.json()["error"];
    assert_eq!(error["code"], "disk_full");
    assert!(error["message"].as_str().unwrap().contains("full"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("trainyard gc"), "{error}");
    assert_eq!(listed.as_array().unwrap().len(), 1, "what was refused is not there");
    let after = workspace.submit(&quick);
    workspace.wait(&after, |run| run["status"] == "Completed");
    std::fs::write(gate, "").unwrap();
    let ended = workspace.wait(&on, |run| run["exit"] != Value::Null);
    assert_eq!(ended["status"], "Completed", "{ended}");
    workspace.kill();
    workspace.start_with(&[NOTHING_KEPT]);
    assert_eq!(workspace.get("/v1/runs").json().as_array().unwrap().len(), 2);
}

#[test]
fn a_run_that_finds_the_disk_full_says_so() {
    let disk;
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    std::fs::write(workspace.source().join("large"), vec![7; 1 << 20]).unwrap();
    match SmallDisk::mount(&workspace.home()) {
        Some(mounted) => disk = mounted,
        None => return,
    }
    workspace.start_with(&[NOTHING_KEPT]);
    let submission = workspace.submission("true");

    let filler = disk.fill();
    // What there is room for in the records; there is none for the source.
    let room = std::fs::OpenOptions::new().write(true).open(&filler).unwrap();
    let length = room.metadata().unwrap().len();
    room.set_len(length - (512 << 10)).unwrap();
    let run = workspace.submit(&submission);
    let ended = workspace.wait(&run, |run| run["exit"] != Value::Null);

    assert_eq!(ended["exit"]["reason"], "disk_full", "{}", ended["exit"]);
    assert_eq!(ended["exit"]["processExitCode"], 125);
}

#[test]
fn runs_wait_while_less_is_free_than_is_kept_free() {
    let disk;
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    match SmallDisk::mount(&workspace.home()) {
        Some(mounted) => disk = mounted,
        None => return,
    }
    workspace.start_with(&[("TRAINYARD_DISK_MIN_FREE", "4 MiB"), ("TRAINYARD_MAX_RUNS", "1")]);
    let (submission, gate) = workspace.gated("echo over");
    let on = workspace.submit(&submission);
    workspace.wait(&on, |run| run["status"] == "Running");
    let waits = workspace.submit(&workspace.submission("echo later"));
    let refused_one = workspace.submission("true");

    let filler = disk.fill();
    let refused = workspace.post("/v1/runs", &refused_one);
    // What there is room for in the records; less than is kept free.
    let room = std::fs::OpenOptions::new().write(true).open(&filler).unwrap();
    room.set_len(room.metadata().unwrap().len() - (768 << 10)).unwrap();
    drop(room);
    std::fs::write(gate, "").unwrap();
    let ended = workspace.wait(&on, |run| run["exit"] != Value::Null);
    let short = workspace.wait(&waits, |run| run["waitsFor"]["for"] == "disk");
    let octets = ["content-type: application/octet-stream"];
    let pack = call(&workspace.socket(), "POST", "/v1/transfers/pack", &octets, b"");
    let statistics = workspace.get("/v1/statistics").json();
    std::fs::remove_file(filler).unwrap();

    assert_eq!(ended["status"], "Completed", "what is on goes on: {ended}");
    assert_eq!(refused.status, 507, "{refused:?}");
    let error = &refused.json()["error"];
    assert_eq!(error["code"], "disk_full");
    assert!(error["message"].as_str().unwrap().contains("4.2 MB are kept free"), "{error}");
    assert_eq!(pack.status, 507);
    assert_eq!(short["status"], "Queued", "{short}");
    let shortage = &short["waitsFor"]["shortage"];
    assert_eq!((&shortage["of"], &shortage["keptBytes"]), (&json!("free"), &json!(4 << 20)));
    assert_eq!(statistics["disk"]["shortage"]["of"], "free", "{statistics}");
    workspace.wait(&waits, |run| run["status"] == "Completed");
}

#[test]
fn a_key_finds_its_run_also_while_nothing_more_is_taken() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start_with(&[NOTHING_KEPT]);
    // From a home of its own the source has to travel.
    let elsewhere = tempfile::tempdir().unwrap();
    let runs = |workspace: &Workspace, key: &str, more: &[&str]| {
        let run = ["run", "--detach", "--json", "--hold", "--command", "true"];
        let key = ["--idempotency-key", key, "--source", "."];
        let mut command = workspace.command(&[&run[..], &key, more].concat());
        command.env("TRAINYARD_HOME", elsewhere.path()).env("TRAINYARD_SOCKET", workspace.socket());
        command.current_dir(workspace.source()).output().unwrap()
    };
    let accepted = runs(&workspace, "nightly", &[]);
    assert!(accepted.status.success(), "{accepted:?}");
    let accepted: Value = serde_json::from_slice(&accepted.stdout).unwrap();
    workspace.kill();
    workspace.start_with(&[("TRAINYARD_DISK_MIN_FREE", "1000000 TiB")]);
    workspace.post("/v1/agent/drain", &json!({}));

    let again = runs(&workspace, "nightly", &[]);
    std::fs::write(workspace.source().join("a.txt"), "b").unwrap();
    let changed = runs(&workspace, "nightly", &[]);
    let other = runs(&workspace, "weekly", &[]);

    assert!(again.status.success(), "{again:?}");
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(
        (&again["runId"], &accepted["existing"], &again["existing"]),
        (&accepted["runId"], &json!(false), &json!(true))
    );
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said(&changed).contains("was submitted otherwise"), "{changed:?}");
    assert!(said(&other).contains("takes nothing more for want of disk space"), "{other:?}");
    assert_eq!((changed.status.code(), other.status.code()), (Some(125), Some(125)));
    assert_eq!(workspace.get("/v1/runs").json().as_array().unwrap().len(), 1);
}

#[test]
fn runs_wait_while_those_that_are_over_take_more_than_they_may() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start_with(&[NOTHING_KEPT]);
    let prints = "head -c 300000 /dev/zero | tr '\\0' x; head -c 2000000 /dev/zero > outputs/large";
    let first = workspace.submit(&workspace.submission(prints));
    workspace.wait(&first, |run| run["status"] == "Completed");
    // As after an upgrade, nobody has counted it, or it is found counted.
    workspace.kill();
    let limits = [NOTHING_KEPT, ("TRAINYARD_RUNS_MAX_BYTES", "1 MiB")];
    workspace.start_with(&limits);

    let short = |of: &str, workspace: &Workspace| {
        let deadline = std::time::Instant::now() + crate::support::PATIENCE;
        while workspace.get("/v1/statistics").json()["disk"]["shortage"]["of"] != of {
            assert!(std::time::Instant::now() < deadline, "nothing is short of {of}");
        }
    };
    short("runs", &workspace);
    let waits = workspace.submit(&workspace.submission("echo later"));
    workspace.wait(&waits, |run| run["waitsFor"]["shortage"]["of"] == "runs");
    let why = workspace.trainyard(&["explain", &waits]);
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(why.contains("of the 1.0 MB they may"), "{why}");
    assert!(why.contains("`trainyard gc --older 30d --dry-run`"), "{why}");
    let would = workspace.post("/v1/gc", &json!({"olderThanSeconds": 0, "dryRun": true})).json();
    assert_eq!(would["runsRemoved"], 1, "{would}");
    assert!(would["runBytesFreed"].as_u64().unwrap() > 2_300_000, "{would}");
    assert_eq!(workspace.get(&format!("/v1/runs/{first}")).status, 200, "nothing went by itself");

    let removed = call(&workspace.socket(), "DELETE", &format!("/v1/runs/{first}"), &[], b"");
    assert_eq!(removed.status, 204);
    workspace.wait(&waits, |run| run["status"] == "Completed");

    let prints = workspace.submit(&workspace.submission("head -c 300000 /dev/zero | tr '\\0' x"));
    workspace.wait(&prints, |run| run["status"] == "Completed");
    workspace.kill();
    workspace.start_with(&[NOTHING_KEPT, ("TRAINYARD_LOGS_MAX_BYTES", "200 KiB")]);
    short("logs", &workspace);
}

/// A source distribution whose build says that it is on and does not end.
fn hanging_package(at: &Path) {
    let package = at.join("hangs-1.0");
    std::fs::create_dir_all(&package).unwrap();
    let begun = at.join("begun");
    let setup = format!("import time\nopen({begun:?}, 'w').close()\ntime.sleep(600)\n");
    std::fs::write(package.join("setup.py"), setup).unwrap();
    let info = "Metadata-Version: 1.0\nName: hangs\nVersion: 1.0\n";
    std::fs::write(package.join("PKG-INFO"), info).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["czf", "hangs-1.0.tar.gz", "hangs-1.0"]).current_dir(at);
    assert!(tar.status().unwrap().success());
}

#[test]
fn a_build_that_hangs_ends_when_its_run_is_cancelled() {
    let packages = tempfile::tempdir().unwrap();
    hanging_package(packages.path());
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    let offline = packages.path().to_str().unwrap();
    // With nothing to build builds with, pip and uv would fail at once.
    let settings = [
        ("PIP_NO_INDEX", "1"),
        ("PIP_FIND_LINKS", offline),
        ("PIP_NO_BUILD_ISOLATION", "0"),
        ("UV_NO_INDEX", "1"),
        ("UV_FIND_LINKS", offline),
        ("UV_NO_BUILD_ISOLATION", "1"),
    ];
    workspace.start_with(&settings);
    let mut submission = workspace.submission("echo never");
    let file = json!({ "name": "requirements.txt", "text": "hangs==1.0\n" });
    submission["environment"] =
        json!({ "kind": "requirements", "interpreter": python(), "files": [file] });
    let run = workspace.submit(&submission);
    workspace.wait(&run, |run| {
        assert_eq!(run["exit"], Value::Null, "{}", run["exit"]);
        packages.path().join("begun").exists()
    });

    workspace.post(&format!("/v1/runs/{run}/cancel"), &json!({}));
    let ended = workspace.wait(&run, |run| run["exit"] != Value::Null);

    assert_eq!(ended["status"], "Canceled");
    assert_eq!(ended["exit"]["reason"], "cancelled");
    assert_eq!(ended["exit"]["message"], "cancelled before the script started");
    assert_eq!(ended["startTimeUtc"], Value::Null);
    let listed = workspace.get("/v1/environments").json();
    assert!(listed.as_array().unwrap().is_empty(), "half an environment was kept: {listed}");
    assert_eq!(processes_with(offline), 0, "the build goes on");
}

/// How many processes have `text` in their environment, other than the agent of the test.
fn processes_with(text: &str) -> usize {
    let has = |process: &Path| {
        let environment = std::fs::read(process.join("environ")).unwrap_or_default();
        let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let found = environment.windows(text.len()).any(|window| window == text.as_bytes());
        let is_agent = line.split(|byte| *byte == 0).any(|word| word == b"agent");
        found && !is_agent && !line.is_empty()
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.filter(|entry| has(&entry.path())).count()
}
