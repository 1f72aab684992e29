//! Objects, transfers, clean-up and files through the agent's socket.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use snapshots::digest::Digest;
use snapshots::snapshot::{self, SnapshotOptions, SnapshotRecord};
use snapshots::store::local::LocalStore;
use snapshots::transfer::{self, Destination, TransferError};

use crate::support::{Answer, Workspace, as_user, call};

/// An agent's store, seen through its socket.
pub(crate) struct Remote {
    pub(crate) socket: PathBuf,
    /// Who asks; only root can be somebody else.
    pub(crate) uid: u32,
    /// Packs are thrown away after so many bytes.
    pub(crate) cut_at: Option<u64>,
}

fn refused(answer: &Answer) -> TransferError {
    let error = answer.json()["error"].clone();
    if error["code"] == "snapshot_incomplete" {
        return TransferError::Incomplete { missing: Vec::new() };
    }
    TransferError::Remote { source: error.to_string().into() }
}

impl Remote {
    fn call(&self, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let call = || call(&self.socket, "POST", path, headers, body);
        if self.uid == 0 { call() } else { as_user(self.uid, call) }
    }

    fn post(&self, path: &str, body: &Value) -> Result<Answer, TransferError> {
        let json = ["content-type: application/json"];
        let answer = self.call(path, &json, body.to_string().as_bytes());
        if answer.status >= 400 { Err(refused(&answer)) } else { Ok(answer) }
    }
}

impl Destination for Remote {
    fn missing(&mut self, digests: &[Digest]) -> Result<Vec<Digest>, TransferError> {
        let answer = self.post("/v1/transfers/missing", &json!({ "digests": digests }))?;
        Ok(serde_json::from_value(answer.json()["missing"].clone()).unwrap())
    }

    fn put_pack(&mut self, pack: &mut dyn Read) -> Result<(), TransferError> {
        let mut bytes = Vec::new();
        pack.take(self.cut_at.unwrap_or(u64::MAX)).read_to_end(&mut bytes).unwrap();
        let octets = ["content-type: application/octet-stream"];
        let answer = self.call("/v1/transfers/pack", &octets, &bytes);
        if answer.status >= 400 { Err(refused(&answer)) } else { Ok(()) }
    }

    fn finish(&mut self, record: &SnapshotRecord) -> Result<(), TransferError> {
        self.post("/v1/transfers/finish", &serde_json::to_value(FinishRequest { record }).unwrap())
            .map(drop)
    }
}

#[derive(serde::Serialize)]
struct FinishRequest<'a> {
    record: &'a SnapshotRecord,
}

/// A snapshot in a store of the client's own.
pub(crate) fn snapshot(directory: &Path, files: &[(&str, &[u8])]) -> (LocalStore, SnapshotRecord) {
    let source = directory.join("sent");
    for (name, bytes) in files {
        let path = source.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let store = LocalStore::open(&directory.join("own-store")).unwrap();
    let taken = snapshot::take(&source, &store, &SnapshotOptions::default(), &()).unwrap();
    (store, taken.record)
}

pub(crate) fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|i| Digest::of(&i.to_le_bytes()).as_bytes()[0]).collect()
}

fn gc(workspace: &Workspace, body: &Value) -> Value {
    let answer = workspace.post("/v1/gc", body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn a_snapshot_is_sent_finished_and_run() {
    let own = tempfile::tempdir().unwrap();
    let mut workspace = Workspace::new(&[]);
    workspace.start();
    let large = noise(100_000);
    let files: &[(&str, &[u8])] =
        &[("data/large", &large), ("data/same", &large), ("a.txt", b"sent\n")];
    let (store, record) = snapshot(own.path(), files);
    let mut remote = Remote { socket: workspace.socket(), cut_at: None, uid: 0 };

    let unfinished = remote.finish(&record).unwrap_err();
    let first = transfer::send(&store, &record, &mut remote, &()).unwrap();
    let again = transfer::send(&store, &record, &mut remote, &()).unwrap();

    assert!(matches!(unfinished, TransferError::Incomplete { .. }), "{unfinished:?}");
    // Two blobs, two directories: what is twice in the source is sent once.
    assert_eq!((first.objects, again.objects), (4, 0));
    let mut submission = workspace.submission("cat a.txt; cmp data/large data/same");
    submission["snapshotId"] = json!(record.id);
    let run = workspace.submit(&submission);
    let ended = workspace.wait(&run, |run| run["exit"] != Value::Null);
    assert_eq!(ended["status"], "Completed", "{ended}");
    assert_eq!(workspace.get("/v1/runs/@/logs").body, b"sent\n");
}

#[test]
fn what_an_interrupted_transfer_left_stays_for_the_grace_age_and_is_not_sent_again() {
    let own = tempfile::tempdir().unwrap();
    let mut workspace = Workspace::new(&[]);
    workspace.start();
    let blobs: Vec<_> = (0..40).map(|i| (format!("f{i:02}"), noise(20_000 + i))).collect();
    let files: Vec<_> = blobs.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    let (store, record) = snapshot(own.path(), &files);
    let mut remote = Remote { socket: workspace.socket(), cut_at: Some(300_000), uid: 0 };

    let cut = transfer::send(&store, &record, &mut remote, &()).unwrap_err();
    let kept = gc(&workspace, &json!({}));
    remote.cut_at = None;
    let rest = transfer::send(&store, &record, &mut remote, &()).unwrap();

    assert!(matches!(cut, TransferError::Remote { .. }), "{cut:?}");
    assert_eq!(kept["objectsRemoved"], 0);
    assert!((1..41).contains(&rest.objects), "{rest:?}: what had come was sent again");
    // Without grace it goes, and the agent then says that it is not there.
    let freed = gc(&workspace, &json!({ "graceSeconds": 0 }));
    assert_eq!((&freed["objectsRemoved"], &freed["snapshotsRemoved"]), (&json!(41), &json!(1)));
    assert!(matches!(remote.finish(&record), Err(TransferError::Incomplete { .. })));
    let mut submission = workspace.submission("true");
    submission["snapshotId"] = json!(record.id);
    let answer = workspace.post("/v1/runs", &submission);
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (409, &json!("snapshot_missing")));
}

#[test]
fn gc_says_what_would_go_and_then_lets_exactly_that_go() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    // `snapshot create` keeps what it takes; what is only sent for a run goes with the run.
    let own = tempfile::tempdir().unwrap();
    let (store, record) = snapshot(own.path(), &[("b.txt", b"b")]);
    let mut remote = Remote { socket: workspace.socket(), cut_at: None, uid: 0 };
    transfer::send(&store, &record, &mut remote, &()).unwrap();
    let mut submission = workspace.submission("true");
    submission["snapshotId"] = json!(record.id);
    let old = workspace.submit(&submission);
    workspace.wait(&old, |run| run["exit"] != Value::Null);
    let on = workspace.submit(&workspace.submission("while [ ! -e stop ]; do sleep 0.01; done"));
    let directory = workspace.wait(&on, |run| run["status"] == "Running")["runDirectory"].clone();
    let everything = json!({ "graceSeconds": 0, "olderThanSeconds": 0, "dryRun": true });

    let recent = gc(&workspace, &json!({ "graceSeconds": 0, "olderThanSeconds": 3600 }));
    let would = gc(&workspace, &everything);
    assert_eq!(workspace.get(&format!("/v1/runs/{old}")).status, 200, "a dry run removes nothing");
    let mut for_good = everything.clone();
    for_good["dryRun"] = json!(false);
    let did = gc(&workspace, &for_good);

    assert_eq!((&recent["runsRemoved"], &recent["objectsRemoved"]), (&json!(0), &json!(0)));
    for count in ["runsRemoved", "objectsRemoved", "snapshotsRemoved"] {
        assert_eq!(would[count], did[count], "{count}: {would} {did}");
    }
    // One run; its snapshot with one file and one directory.
    assert_eq!((&did["runsRemoved"], &did["objectsRemoved"]), (&json!(1), &json!(2)));
    assert_eq!(workspace.get(&format!("/v1/runs/{old}")).status, 404);
    assert!(!workspace.home().join("runs").join(&old).exists());
    std::fs::write(Path::new(directory.as_str().unwrap()).join("work/stop"), "").unwrap();
    workspace.wait(&on, |run| run["status"] == "Completed");
}

#[test]
fn outputs_with_any_name_can_be_had() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    let names: [&[u8]; 5] = [b"\xff.bin", b"a\nb", b"a b%2f?#", b"\x1b[2J", "ü".as_bytes()];
    let line = r"cd outputs; echo 0 > $'\xff.bin'; echo 1 > $'a\nb'; echo 2 > 'a b%2f?#';
        echo 3 > $'\x1b[2J'; echo 4 > 'ü'";
    let run = workspace.submit(&workspace.submission(line));
    let ended = workspace.wait(&run, |run| run["exit"] != Value::Null);
    let files = ended["outputFiles"].as_array().unwrap();
    assert_eq!(files.len(), names.len(), "{ended}");

    for (number, name) in names.into_iter().enumerate() {
        let escaped: String = name.iter().map(|byte| format!("%{byte:02X}")).collect();
        let got = workspace.get(&format!("/v1/runs/{run}/files/outputs/{escaped}"));
        assert_eq!(got.body, format!("{number}\n").as_bytes(), "{escaped}");
    }
    let exact: Vec<_> = files.iter().filter(|file| file["pathBase64"] == Value::Null).collect();
    assert_eq!(exact.len(), 4, "{files:?}");
    let copy = workspace.home().join("copy");
    let copied = workspace.trainyard(&["outputs", &run, copy.to_str().unwrap()]);
    assert!(copied.status.success(), "{copied:?}");
    for (number, name) in names.into_iter().enumerate() {
        let path = copy.join("outputs").join(OsStr::from_bytes(name));
        assert_eq!(std::fs::read_to_string(path).unwrap(), format!("{number}\n"));
    }
}

#[test]
fn whoever_asks_for_a_run_that_just_ended_gets_the_packages_of_its_python() {
    let mut workspace = Workspace::new(&[("a.txt", "a")]);
    workspace.start();
    let run = workspace.submit(&workspace.submission("true"));
    workspace.follow(&run);

    let shown = workspace.get(&format!("/v1/runs/{run}")).json();

    let packages = shown["preparedEnvironment"]["packages"].as_array().unwrap();
    assert!(packages.iter().any(|one| one.as_str().unwrap().contains("==")), "{shown}");
}
