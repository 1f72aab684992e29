//! A target whose machine is a thread: the answering side over a pair of sockets, which can be cut
//! at any byte.

mod uploads;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use images::environment::Environment;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use snapshots::digest::Digest;
use snapshots::snapshot::{self, SnapshotOptions};

use super::pool::{Client, Line};
use super::*;
use crate::compute_target::{ComputeTarget as _, Needs, SupervisorState};
use crate::exit_record::{ExitReason, ExitRecord};
use crate::outputs::OutputFile;
use crate::remote::client::{RemoteClient, Stream};
use crate::remote::files::RemoteHome;
use crate::remote::frame::PROTOCOL;
use crate::remote::message::Left;
use crate::remote::server;
use crate::run_directory::RunDirectory;
use crate::run_id::RunId;

/// What went over all connections, and how much may go over the next ones.
#[derive(Default)]
struct Traffic {
    sent: AtomicU64,
    connections: AtomicU64,
    /// Whence it is drawn after how many bytes a connection is cut.
    cuts: Mutex<Option<(SmallRng, u64)>>,
}

/// One end of a connection.
struct Cable {
    socket: UnixStream,
    traffic: Arc<Traffic>,
    /// How much it still carries.
    left: u64,
}

impl Cable {
    fn carry(&mut self, length: usize) -> io::Result<usize> {
        if self.left == 0 {
            self.socket.shutdown(std::net::Shutdown::Both)?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(length.min(usize::try_from(self.left).unwrap_or(usize::MAX)))
    }
}

impl Read for Cable {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let most = self.carry(bytes.len())?;
        let length = self.socket.read(&mut bytes[..most])?;
        self.left -= length as u64;
        Ok(length)
    }
}

impl Write for Cable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.carry(bytes.len())?;
        let length = self.socket.write(&bytes[..most])?;
        self.left -= length as u64;
        self.traffic.sent.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl Stream for Cable {
    fn has_input(&mut self) -> io::Result<bool> {
        let mut descriptors = [PollFd::new(&self.socket, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        Ok(poll(&mut descriptors, Some(&now))? > 0)
    }
}

/// A machine with a state directory of its own.
struct Machine {
    home: RemoteHome,
    traffic: Arc<Traffic>,
}

impl Connector for Machine {
    fn connect(&self) -> Result<(Client, Hello), Trouble> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let home = self.home.clone();
        thread::spawn(move || {
            let (from, mut to) = (theirs.try_clone().unwrap(), theirs);
            // It ends with the connection, however that ends.
            let _ended = server::serve(&home, "/bin/false".into(), from, &mut to);
            let _closed = to.shutdown(std::net::Shutdown::Both);
        });
        self.traffic.connections.fetch_add(1, Ordering::Relaxed);
        let mut cuts = self.traffic.cuts.lock().unwrap();
        let left = cuts.as_mut().map_or(u64::MAX, |(random, most)| random.random_range(1..*most));
        drop(cuts);
        let cable = Cable { socket: ours, traffic: Arc::clone(&self.traffic), left };
        let mut client = RemoteClient::greet(Line::new(cable)).map_err(Trouble::Remote)?;
        let hello = client.ask(&Request::Hello { protocol: PROTOCOL }).map_err(Trouble::Remote)?;
        Ok((client, hello))
    }
}

/// A target, its machine and this side's state directory.
struct Fixture {
    base: tempfile::TempDir,
    there: RemoteHome,
    objects: LocalStore,
    traffic: Arc<Traffic>,
    target: SshTarget,
}

impl Fixture {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let objects = LocalStore::open(&base.path().join("store")).unwrap();
        let there = RemoteHome::at(base.path().join("there"));
        there.create().unwrap();
        let traffic = Arc::new(Traffic::default());
        let machine = Machine { home: there.clone(), traffic: Arc::clone(&traffic) };
        let home = HomeSide { program: "/bin/false".into(), owner: "here".to_owned() };
        let target = SshTarget::through("gpu-vm".to_owned(), Box::new(machine), home);
        Self { base, there, objects, traffic, target }
    }

    /// Cuts every connection from now on after less than `most` bytes.
    fn cut_after(&self, seed: u64, most: u64) {
        self.target.pool.close_idle();
        *self.traffic.cuts.lock().unwrap() = Some((SmallRng::seed_from_u64(seed), most));
    }

    /// Makes a run whose directory is there, and one for it at home.
    fn run(&self) -> (RunDirectory, RunDirectory) {
        let id = RunId::generate("exp", 1, 7);
        let home = RunDirectory::new(self.base.path().join("runs").join(id.as_str()));
        fs::create_dir_all(home.path().parent().unwrap()).unwrap();
        home.create().unwrap();
        let there = self.there.run(&id);
        there.create().unwrap();
        fs::create_dir_all(there.outputs()).unwrap();
        fs::create_dir_all(there.logs()).unwrap();
        (home, there)
    }

    /// The same, as it is when it has ended and written `log`.
    fn ended(&self, log: &[u8]) -> (RunDirectory, RunDirectory, ExitRecord) {
        let (home, there) = self.run();
        known_there(&there);
        fs::write(there.std_log(), log).unwrap();
        fs::write(there.events(), "{}\n").unwrap();
        let mut exit = ExitRecord::new(ExitReason::Completed, "completed", Timestamp::now());
        exit.log_bytes = log.len() as u64;
        exit.write(&there).unwrap();
        (home, there, exit)
    }

    /// Takes a snapshot of `count` files.
    fn snapshot(&self, count: usize) -> Digest {
        let source = self.base.path().join("source");
        for n in 0..count {
            let directory = source.join(format!("d{}", n / 100));
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(format!("f{n}")), format!("content {n}")).unwrap();
        }
        let options = SnapshotOptions::default();
        snapshot::take(&source, &self.objects, &options, &()).unwrap().record.id
    }

    fn empty_snapshot(&self) -> Digest {
        let source = self.base.path().join("nothing");
        fs::create_dir_all(&source).unwrap();
        let options = SnapshotOptions::default();
        snapshot::take(&source, &self.objects, &options, &()).unwrap().record.id
    }
}

/// Writes what a machine keeps of a run that it was asked to prepare.
fn known_there(run: &RunDirectory) {
    let needs = Needs {
        snapshot: Digest::of(b"x"),
        environment: Environment::UserManaged { interpreter: "/usr/bin/python3".into() },
        fresh: false,
    };
    let record = serde_json::json!({ "version": 1, "needs": needs });
    fs::write(run.path().join("prepare.json"), record.to_string()).unwrap();
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SmallRng::seed_from_u64(seed).fill(bytes.as_mut_slice());
    bytes
}

#[test]
fn outputs_come_home_whatever_happens_on_the_way() {
    let fixture = Fixture::new();
    let (home, there, _) = fixture.ended(b"");
    let large = noise(700_000, 1);
    fs::write(there.outputs().join("model.bin"), &large).unwrap();
    fs::write(there.outputs().join("again.bin"), &large).unwrap();
    fs::write(there.outputs().join("empty"), "").unwrap();
    fs::create_dir(there.logs().join("deep")).unwrap();
    let name = std::os::unix::ffi::OsStrExt::from_bytes(b"deep/\xff \n");
    let name: &std::ffi::OsStr = name;
    fs::write(there.logs().join(name), "strange").unwrap();
    let snapshot = fixture.empty_snapshot();
    fixture
        .target
        .pool
        .with_client(|client| {
            upload::send(&fixture.objects, &snapshot, client, &AtomicBool::new(false))
                .map_err(|_| panic!("cannot send"))
        })
        .unwrap();

    // What is compressed comes in blocks of 128 KiB. No connection carries a large file whole.
    fixture.cut_after(5, 500_000);
    let mut cut = 0;
    let outputs = loop {
        match fixture.target.collect(&home, &snapshot, &fixture.objects) {
            Ok(outputs) => break outputs,
            Err(TargetError::OutOfContact { .. }) => cut += 1,
            Err(error) => panic!("{error}"),
        }
        fixture.target.pool.contact.wait(Duration::from_secs(60));
    };
    assert!(cut > 4, "{cut} cuts");
    assert_eq!(outputs.notes, Vec::<String>::new());
    let names: Vec<&Path> = outputs.files.iter().map(|file| file.path.as_path()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    for file in &outputs.files {
        let (here, there) = (home.work().join(&file.path), there.work().join(&file.path));
        assert!(fs::read(here).unwrap() == fs::read(there).unwrap(), "{:?}", file.path);
    }
    assert!(!home.temporary().exists());
}

#[test]
fn what_changes_while_it_is_fetched_is_left_out() {
    let fixture = Fixture::new();
    let (home, there, _) = fixture.ended(b"");
    let id = calls::id_of(&home).unwrap();
    fs::write(there.outputs().join("still"), "as it was").unwrap();
    fs::write(there.outputs().join("grown"), "one").unwrap();
    fs::write(there.outputs().join("other"), "one").unwrap();
    fs::write(there.outputs().join("gone"), "one").unwrap();
    let file = |name: &str, content: &[u8]| OutputFile {
        path: Path::new("outputs").join(name),
        size: content.len() as u64,
        sha256: Digest::of(content),
    };
    let mut left = Left::default();
    left.files.extend(["grown", "other", "gone"].map(|name| file(name, b"one")));
    left.files.push(file("still", b"as it was"));
    left.files.push(OutputFile { path: "../../launch.json".into(), ..file("x", b"") });
    fs::write(there.outputs().join("grown"), "one and two").unwrap();
    fs::write(there.outputs().join("other"), "two").unwrap();
    fs::remove_file(there.outputs().join("gone")).unwrap();

    let fetched =
        fixture.target.pool.with_client(|client| fetch::fetch(&id, &home, left.clone(), client));
    let outputs = fetched.unwrap();
    let names: Vec<String> =
        outputs.files.iter().map(|file| file.path.display().to_string()).collect();
    assert_eq!(names, ["outputs/grown", "outputs/still"]);
    assert_eq!(fs::read(home.outputs().join("grown")).unwrap(), b"one");
    insta::assert_snapshot!(outputs.notes.join("\n"), @r#"
    "outputs/other" has changed meanwhile: left out
    "outputs/gone" has changed meanwhile: left out
    "../../launch.json" is no place for an output: left out
    "#);
    assert!(!home.outputs().join("other").exists());
}

#[test]
fn a_log_comes_home_byte_for_byte_however_often_it_is_cut() {
    let fixture = Fixture::new();
    let log = noise(1_500_000, 3);
    fixture.cut_after(17, 400_000);
    let (home, there, exit) = fixture.ended(&log);
    fs::write(there.supervisor_log(), noise(5000, 4)).unwrap();

    let state = loop {
        match fixture.target.wait(&home, Duration::from_secs(60)) {
            Ok(state) => break state,
            Err(TargetError::OutOfContact { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(state, SupervisorState::Ended(exit.clone()));
    assert_eq!(ExitRecord::read(&home).unwrap(), Some(exit));
    assert!(fs::read(home.std_log()).unwrap() == log);
    for path in [RunDirectory::events, RunDirectory::supervisor_log] {
        assert_eq!(fs::read(path(&home)).unwrap(), fs::read(path(&there)).unwrap());
    }
    let connections = fixture.traffic.connections.load(Ordering::Relaxed);
    assert!(connections > 5, "{connections} connections");
}

#[test]
fn another_takes_up_where_one_left_off() {
    let fixture = Fixture::new();
    let log = noise(300_000, 9);
    let (home, _there, exit) = fixture.ended(&log);
    fs::write(home.std_log(), &log[..123_457]).unwrap();

    let ended = fixture.target.wait(&home, Duration::from_secs(60)).unwrap();
    assert_eq!(ended, SupervisorState::Ended(exit));
    assert!(fs::read(home.std_log()).unwrap() == log);
}

#[test]
fn a_log_at_home_that_is_too_long_is_told_of_and_kept() {
    let fixture = Fixture::new();
    let (home, _there, _) = fixture.ended(b"short");
    fs::write(home.std_log(), "longer than that").unwrap();

    let error = fixture.target.wait(&home, Duration::from_secs(60)).unwrap_err();
    assert!(error.to_string().ends_with("holds 16 bytes here, the whole log on the machine 5"));
    assert_eq!(fs::read(home.std_log()).unwrap(), b"longer than that");
    assert_eq!(ExitRecord::read(&home).unwrap(), None);
}

#[test]
fn a_run_that_the_machine_has_forgotten_is_lost() {
    let fixture = Fixture::new();
    let (home, there) = fixture.run();
    fs::remove_dir_all(there.path()).unwrap();
    assert_eq!(fixture.target.probe(&home).unwrap(), SupervisorState::NotStarted);
    assert!(matches!(fixture.target.settle(&home), Err(TargetError::NotStarted { .. })));
    fixture.target.mirror.leave(&calls::id_of(&home).unwrap());

    fs::write(home.events(), "{}\n").unwrap();
    assert!(matches!(fixture.target.probe(&home).unwrap(), SupervisorState::Lost(_)));
    let exit = fixture.target.settle(&home).unwrap();
    assert_eq!(exit.reason, ExitReason::LostContact);
    assert_eq!(fixture.target.probe(&home).unwrap(), SupervisorState::Ended(exit));
}

/// Is never there.
struct Absent;

impl Connector for Absent {
    fn connect(&self) -> Result<(Client, Hello), Trouble> {
        let host = "vm".to_owned();
        let source = io::ErrorKind::ConnectionRefused.into();
        Err(Trouble::Ssh(crate::ssh::SshError::Unreachable { host, port: 22, source }))
    }
}

#[test]
fn a_machine_that_is_not_there_keeps_nobody_waiting() {
    let fixture = Fixture::new();
    let (home, _) = fixture.run();
    let side = HomeSide { program: "/bin/false".into(), owner: "here".to_owned() };
    let target = SshTarget::through("gpu-vm".to_owned(), Box::new(Absent), side);
    assert_eq!(target.out_of_contact(), None);
    let snapshot = Digest::of(b"x");
    let errors = [
        target.probe(&home).unwrap_err(),
        target.place().unwrap_err(),
        target.gpus(1).unwrap_err(),
        target.collect(&home, &snapshot, &fixture.objects).unwrap_err(),
        target.release(&home).unwrap_err(),
        target.settle(&home).unwrap_err(),
        target.wait(&home, Duration::from_millis(1)).unwrap_err(),
    ];
    for error in errors {
        let TargetError::OutOfContact { contact, .. } = error else { panic!("{error}") };
        assert_eq!(contact.why, "cannot reach vm port 22: connection refused");
    }
    assert!(target.out_of_contact().is_some());
    let report = target.report().unwrap_err();
    assert!(matches!(report, TargetError::Ssh(_)), "{report}");

    let cancelled = std::sync::atomic::AtomicBool::new(true);
    let needs = Needs {
        snapshot,
        environment: Environment::UserManaged { interpreter: "/usr/bin/python3".into() },
        fresh: false,
    };
    let prepared = target.prepare(&home, &needs, &fixture.objects, &cancelled).unwrap_err();
    assert_eq!(prepared.reason(), ExitReason::Cancelled);
}

#[test]
fn two_targets_may_follow_the_same_run_one_after_the_other() {
    let fixture = Fixture::new();
    let log = noise(50_000, 2);
    let (home, there, exit) = fixture.ended(&log);
    fs::remove_file(there.exit_json()).unwrap();
    assert_eq!(fixture.target.probe(&home).unwrap(), SupervisorState::NotStarted);
    let machine = Machine { home: fixture.there.clone(), traffic: Arc::clone(&fixture.traffic) };
    let side = HomeSide { program: "/bin/false".into(), owner: "here".to_owned() };
    let second = SshTarget::through("gpu-vm".to_owned(), Box::new(machine), side);
    // The first still has the files.
    assert!(second.wait(&home, Duration::from_millis(1)).is_err());
    drop(fixture.target);
    exit.write(&there).unwrap();
    // What it was told before there was that record may come first.
    let ended = loop {
        match second.wait(&home, Duration::from_secs(60)).unwrap() {
            SupervisorState::NotStarted => {}
            state => break state,
        }
    };
    assert_eq!(ended, SupervisorState::Ended(exit));
    assert!(fs::read(home.std_log()).unwrap() == log);
}
