//! A run directory with a script in it, and what a test wants to know about it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use runner::cancel_request::{CancelRequest, CancelledBy};
use runner::compute_target::SupervisorState;
use runner::compute_target::supervisors::Supervisors;
use runner::exit_record::ExitRecord;
use runner::launch::{LAUNCH_VERSION, Launch};
use runner::log_reader::{LogReader, StreamFilter};
use runner::run_directory::RunDirectory;
use runner::run_id::RunId;
use runner::supervisor::claim::SupervisorRecord;
use runner::supervisor::events::{self, Event};

/// Nothing here takes this long, engines that start on a busy machine included; what does, hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A run of a Python script, in a directory of its own.
pub(crate) struct TestRun {
    base: tempfile::TempDir,
    pub(crate) directory: RunDirectory,
    pub(crate) launch: Launch,
    pub(crate) target: Supervisors,
}

impl TestRun {
    /// Prepares a run of `script`, which is not started.
    pub(crate) fn of(script: &str) -> Self {
        Self::within(script, tempfile::tempdir().unwrap())
    }

    /// The same in a directory that the test has chosen.
    pub(crate) fn within(script: &str, base: tempfile::TempDir) -> Self {
        let directory = RunDirectory::new(base.path().join("run"));
        fs::create_dir_all(directory.work()).unwrap();
        fs::write(directory.work().join("script.py"), script).unwrap();
        let name: String =
            base.path().file_name().unwrap().to_string_lossy().replace(['.', '/'], "");
        let launch = Launch {
            version: LAUNCH_VERSION,
            run_id: RunId::generate(&name, 1, std::process::id()),
            program: vec![python().to_owned(), "-u".to_owned(), "script.py".to_owned()],
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
        Self { base, directory, launch, target: Supervisors::new(supervise_program()) }
    }

    /// Starts it.
    pub(crate) fn start(&self) {
        self.write_launch();
        self.target.start(&self.directory).unwrap();
    }

    pub(crate) fn write_launch(&self) {
        let text = serde_json::to_vec(&self.launch).unwrap();
        fs::write(self.directory.launch_json(), text).unwrap();
    }

    /// Waits for its end, at which no process of it may be left.
    pub(crate) fn end(&self) -> ExitRecord {
        match self.target.wait(&self.directory, PATIENCE).unwrap() {
            SupervisorState::Ended(record) => {
                assert_eq!(self.live_processes(), Vec::<i32>::new(), "{record:?}");
                record
            }
            other => panic!("{other:?}, supervisor.log: {}", self.supervisor_log()),
        }
    }

    /// Starts it and waits for its end.
    pub(crate) fn carried_out(self) -> (Self, ExitRecord) {
        self.start();
        let record = self.end();
        (self, record)
    }

    pub(crate) fn cancel(&self, now: bool) {
        let by = CancelledBy { uid: 1000, user: Some("ana".to_owned()) };
        let request = CancelRequest::new(by, Timestamp::now(), now);
        self.target.cancel(&self.directory, &request).unwrap();
    }

    /// Waits until the log holds `text`.
    pub(crate) fn wait_for_output(&self, text: &str) {
        wait_until(&format!("the log holds {text:?}"), || {
            self.output(StreamFilter::All).windows(text.len()).any(|w| w == text.as_bytes())
        });
    }

    /// Waits until `path`, relative to the working directory, exists.
    pub(crate) fn wait_for_file(&self, path: &str) {
        wait_until(path, || self.directory.work().join(path).exists());
    }

    pub(crate) fn output(&self, filter: StreamFilter) -> Vec<u8> {
        let mut reader = LogReader::open(&self.directory).unwrap();
        let (segments, _) = reader.read(0, usize::MAX, filter).unwrap();
        segments.into_iter().flat_map(|segment| segment.bytes).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.output(StreamFilter::All)).unwrap()
    }

    pub(crate) fn supervisor(&self) -> SupervisorRecord {
        SupervisorRecord::read(&self.directory).unwrap().unwrap()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        events::read(&self.directory).unwrap().into_iter().map(|line| line.event).collect()
    }

    pub(crate) fn supervisor_log(&self) -> String {
        fs::read_to_string(self.directory.supervisor_log()).unwrap_or_default()
    }

    pub(crate) fn base(&self) -> &Path {
        self.base.path()
    }

    /// Lists the processes that were started with this run's id in their environment.
    pub(crate) fn live_processes(&self) -> Vec<i32> {
        let wanted = format!("TRAINYARD_RUN_ID={}", self.launch.run_id);
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap() {
            let name = entry.unwrap().file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            // Of a zombie there is nothing to read.
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            if environment.split(|&byte| byte == 0).any(|entry| entry == wanted.as_bytes()) {
                found.push(pid);
            }
        }
        found
    }
}

impl Drop for TestRun {
    fn drop(&mut self) {
        // A test that failed half-way leaves nothing running either.
        for pid in self.live_processes() {
            kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

pub(crate) fn kill(pid: i32, signal: nix::sys::signal::Signal) {
    let _gone = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
}

pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The program that stands for `trainyard` here.
pub(crate) fn supervise_program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/supervise");
    assert!(program.exists(), "build {program:?} first: cargo build -p runner --examples");
    program
}

/// The interpreter itself, not a wrapper that starts it.
pub(crate) fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let answer = Command::new("python3")
            .args(["-c", "import sys; print(sys.executable)"])
            .output()
            .expect("python3 is needed for these tests");
        String::from_utf8(answer.stdout).unwrap().trim().to_owned()
    })
}
