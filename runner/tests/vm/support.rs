//! A machine, an agent's state directory, and runs of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use images::environment::Environment;
use jiff::Timestamp;
use runner::compute_target::ssh::{HomeSide, SshTarget, SshTargetSpec};
use runner::compute_target::{ComputeTarget as _, Needs, NotPrepared, Ready};
use runner::compute_target::{SupervisorState, TargetError};
use runner::exit_record::ExitRecord;
use runner::launch::{LAUNCH_VERSION, Launch};
use runner::log_reader::{LogReader, StreamFilter};
use runner::outputs::Outputs;
use runner::run_directory::RunDirectory;
use runner::run_id::RunId;
use runner::ssh::{Credential, Endpoint, HostKeyPolicy, Patience};
use snapshots::digest::Digest;
use snapshots::snapshot::{self, SnapshotOptions};
use snapshots::store::local::LocalStore;
use tempfile::TempDir;

use crate::vm::{KeyPair, USER, Vm, VmOptions};

/// Nothing here takes this long; what does, hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Short, so that a cut is noticed soon.
pub(crate) const IMPATIENCE: Patience = Patience {
    connect: Duration::from_secs(5),
    silence: Duration::from_secs(3),
    answer: Duration::from_secs(60),
};

/// A machine, and what an agent has of it.
pub(crate) struct Attached {
    pub(crate) vm: Vm,
    pub(crate) spec: SshTargetSpec,
    pub(crate) home: Home,
}

/// An agent's state directory.
pub(crate) struct Home {
    pub(crate) base: TempDir,
    pub(crate) side: HomeSide,
    pub(crate) objects: LocalStore,
}

impl Home {
    pub(crate) fn new(owner: &str) -> Self {
        let base = tempfile::tempdir().unwrap();
        let objects = LocalStore::open(&base.path().join("store")).unwrap();
        fs::create_dir(base.path().join("runs")).unwrap();
        let side = HomeSide { program: program(), owner: owner.to_owned() };
        Self { base, side, objects }
    }

    /// Takes a snapshot of a source with these files.
    pub(crate) fn snapshot(&self, files: &[(&str, &[u8])]) -> Digest {
        let source = tempfile::tempdir_in(self.base.path()).unwrap();
        for (name, content) in files {
            let path = source.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let options = SnapshotOptions::default();
        snapshot::take(source.path(), &self.objects, &options, &()).unwrap().record.id
    }

    /// Makes a run, which nobody knows of yet, of a source with these files.
    pub(crate) fn run(&self, files: &[(&str, &[u8])]) -> Run {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = RunId::generate("vm", 1, COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = RunDirectory::new(self.base.path().join("runs").join(id.as_str()));
        directory.create().unwrap();
        let launch = Launch {
            version: LAUNCH_VERSION,
            run_id: id.clone(),
            program: ["/usr/bin/python3", "-u", "script.py"].map(str::to_owned).into(),
            environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            secret_names: Vec::new(),
            working_directory: "work".into(),
            timeout_seconds: None,
            grace_seconds: 30.0,
            limits: None,
            disk_bytes: None,
            sandbox: None,
            container: None,
        };
        let objects = self.objects.clone();
        Run { id, directory, launch, snapshot: self.snapshot(files), objects }
    }

    /// Makes a run of a script.
    pub(crate) fn script(&self, script: &str) -> Run {
        self.run(&[("script.py", script.as_bytes())])
    }
}

impl Attached {
    /// Starts a machine and attaches it; `None` where there can be none.
    pub(crate) fn new() -> Option<Self> {
        Self::to(VmOptions::default())
    }

    pub(crate) fn to(options: VmOptions) -> Option<Self> {
        let vm = Vm::start(options)?;
        let home = Home::new("the first agent");
        let first = SshTarget::first_contact(&endpoint(&vm), &home.side, false).unwrap();
        let spec = SshTargetSpec {
            version: 1,
            name: "gpu-vm".to_owned(),
            host: vm.address(),
            port: 22,
            user: USER.to_owned(),
            host_key: first.host_key,
            jumps: Vec::new(),
            machine: first.hello.machine,
            allow_unsupported: false,
            attached_time_utc: Timestamp::now(),
        };
        Some(Self { vm, spec, home })
    }

    pub(crate) fn target(&self) -> SshTarget {
        self.target_of(&self.home)
    }

    pub(crate) fn target_of(&self, home: &Home) -> SshTarget {
        SshTarget::with_patience(self.spec.clone(), vec![key()], home.side.clone(), IMPATIENCE)
    }

    /// Lists the processes of the user there, but for those that only answer.
    pub(crate) fn processes(&self) -> Vec<String> {
        let listed = self.vm.exec(&format!("ps -u {USER} -o args= || true"));
        let answers = |line: &&str| line.contains("sshd") || line.contains("remote serve");
        listed.lines().filter(|line| !answers(line)).map(str::to_owned).collect()
    }

    /// Lists the run directories there.
    pub(crate) fn runs(&self) -> Vec<String> {
        let listed = self.vm.exec(&format!("ls -A /home/{USER}/.trainyard/runs"));
        listed.lines().map(str::to_owned).collect()
    }
}

pub(crate) fn endpoint(vm: &Vm) -> Endpoint {
    Endpoint {
        host: vm.address(),
        port: 22,
        user: USER.to_owned(),
        host_key: HostKeyPolicy::Any,
        credentials: vec![key()],
        jumps: Vec::new(),
    }
}

pub(crate) fn key() -> Credential {
    let private_key = fs::read_to_string(KeyPair::Ed25519.path()).unwrap().into();
    Credential::Key { private_key, passphrase: None }
}

/// A run, at home.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) id: RunId,
    pub(crate) directory: RunDirectory,
    pub(crate) launch: Launch,
    pub(crate) snapshot: Digest,
    objects: LocalStore,
}

impl Run {
    pub(crate) fn prepare(&self, target: &SshTarget) -> Result<Ready, NotPrepared> {
        let needs = Needs {
            snapshot: self.snapshot,
            environment: Environment::UserManaged { interpreter: "/usr/bin/python3".into() },
            fresh: false,
        };
        let ready =
            target.prepare(&self.directory, &needs, &self.objects, &AtomicBool::new(false))?;
        let launch = serde_json::to_vec(&self.launch).unwrap();
        fs::write(self.directory.launch_json(), launch).unwrap();
        Ok(ready)
    }

    /// Starts it, however often the connection is cut meanwhile.
    pub(crate) fn start(&self, target: &SshTarget) {
        match persist(|| target.start(&self.directory)) {
            // It was cut after it had started.
            Ok(()) | Err(TargetError::AlreadyStarted { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits for its end, however often the connection is cut meanwhile.
    pub(crate) fn end(&self, target: &SshTarget) -> ExitRecord {
        let begun = Instant::now();
        loop {
            match persist(|| target.wait(&self.directory, Duration::from_secs(1))).unwrap() {
                SupervisorState::Ended(exit) => return exit,
                SupervisorState::Running(_) => assert!(begun.elapsed() < PATIENCE),
                SupervisorState::Lost(_) => {
                    return persist(|| target.settle(&self.directory)).unwrap();
                }
                SupervisorState::NotStarted => panic!("it was not started"),
            }
        }
    }

    pub(crate) fn collect(&self, target: &SshTarget) -> Outputs {
        persist(|| target.collect(&self.directory, &self.snapshot, &self.objects)).unwrap()
    }

    /// Prepares, starts, waits, collects and releases it.
    pub(crate) fn carry_out(&self, target: &SshTarget) -> (ExitRecord, Outputs) {
        self.prepare(target).unwrap();
        self.start(target);
        let exit = self.end(target);
        let outputs = self.collect(target);
        persist(|| target.release(&self.directory)).unwrap();
        (exit, outputs)
    }

    pub(crate) fn output(&self, filter: StreamFilter) -> Vec<u8> {
        let mut reader = LogReader::open(&self.directory).unwrap();
        let (segments, _) = reader.read(0, usize::MAX, filter).unwrap();
        segments.into_iter().flat_map(|segment| segment.bytes).collect()
    }

    /// Waits until the log at home has `text`.
    pub(crate) fn wait_for_output(&self, text: &str) {
        wait_until(&format!("the log holds {text:?}"), || {
            self.output(StreamFilter::All).windows(text.len()).any(|w| w == text.as_bytes())
        });
    }
}

/// Asks again for as long as the machine is out of contact.
pub(crate) fn persist<T>(
    mut ask: impl FnMut() -> Result<T, TargetError>,
) -> Result<T, TargetError> {
    let begun = Instant::now();
    loop {
        match ask() {
            Err(TargetError::OutOfContact { contact, .. }) => {
                assert!(begun.elapsed() < PATIENCE, "{contact:?}");
                thread::sleep(Duration::from_millis(20));
            }
            answer => return answer,
        }
    }
}

pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Returns bytes that do not compress.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// The program that stands for `trainyard` here.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/supervise");
    assert!(program.exists(), "build {program:?} first: cargo build -p runner --examples");
    program
}
