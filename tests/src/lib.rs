//! Fixtures for the end-to-end tests: a state directory of one's own, projects made on the spot,
//! and the binary run as a user would run it.

pub mod attached;
pub mod booted;
pub mod certificates;
pub mod channel;
pub mod engine;
pub mod moments;
pub mod own_engine;
pub mod reference;
pub mod registry;
pub mod vm;
pub mod wheel;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long an event may be awaited before a test gives up: far longer than any takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A state directory, a home directory and whatever agent runs on them, gone when dropped.
pub struct Yard {
    directory: TempDir,
}

impl Yard {
    /// Makes an empty one. No agent runs yet.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("yard").tempdir().unwrap();
        fs::create_dir(directory.path().join("user")).unwrap();
        Self { directory }
    }

    /// Returns the state directory (`TRAINYARD_HOME`).
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// Returns the user's home directory (`HOME`).
    #[must_use]
    pub fn user_home(&self) -> PathBuf {
        self.directory.path().join("user")
    }

    /// Makes a source directory holding `files`: (path, text).
    #[must_use]
    pub fn project(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = self.directory.path().join(name);
        fs::create_dir_all(&root).unwrap();
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    /// Writes the user's configuration file.
    pub fn configure(&self, text: &str) {
        let directory = self.user_home().join(".config/trainyard");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("config.toml"), text).unwrap();
    }

    /// Returns a path that this test and all runs here reach, in a directory that they are shown.
    /// Must be called before there is an agent, and after [`configure`](Self::configure).
    #[must_use]
    pub fn shared(&self, name: &str) -> PathBuf {
        let directory = self.directory.path().join("shared");
        if !directory.exists() {
            assert!(!self.home().join("agent.sock").exists(), "the agent would not read of it");
            fs::create_dir(&directory).unwrap();
            let configuration = self.user_home().join(".config/trainyard/config.toml");
            let text = fs::read_to_string(configuration).unwrap_or_default();
            let mount = format!("{}:rw", directory.display());
            self.configure(&format!("{text}\n[sandbox]\nmounts = [{mount:?}]\n"));
        }
        directory.join(name)
    }

    /// Makes a source directory whose `train.py` reads `script`.
    #[must_use]
    pub fn script(&self, script: &str) -> PathBuf {
        let name = format!(
            "project-{:x}",
            script.len() * 31 + script.bytes().map(usize::from).sum::<usize>()
        );
        self.project(&name, &[("train.py", script)])
    }

    /// Returns the binary, ready for arguments, in this yard and with nothing of the user's but
    /// uv, which makes an environment in a tenth of pip's time.
    #[must_use]
    pub fn trainyard(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .env_clear()
            .env("PATH", search_path())
            .env("HOME", self.user_home())
            .env("TRAINYARD_HOME", self.home())
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        // What package installs need on machines with a certificate store of their own.
        for name in
            ["SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT", "REQUESTS_CA_BUNDLE", "PIP_FIND_LINKS"]
        {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// Runs the binary to its end.
    pub fn call<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Output {
        self.trainyard().args(arguments).output().unwrap()
    }

    /// Runs the binary, which must succeed, and returns its standard output.
    #[track_caller]
    pub fn ok<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> String {
        let output = self.call(arguments);
        assert!(output.status.success(), "{}\n{}", output.status, text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs the binary, which must print one JSON document and succeed.
    #[track_caller]
    pub fn json<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Value {
        let stdout = self.ok(arguments);
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
    }

    /// Submits `train.py` of `source`, detached, with this machine's Python; returns the run id.
    #[track_caller]
    pub fn submit(&self, source: &Path, options: &[&str]) -> String {
        let source = source.to_str().unwrap();
        let mut arguments = vec!["run", "-d", "--json", "--source", source, "--python"];
        let python = python();
        arguments.push(python.to_str().unwrap());
        arguments.extend(options);
        arguments.push("train.py");
        self.json(arguments)["runId"].as_str().unwrap().to_owned()
    }

    /// Returns what `show --json` says of a run.
    #[track_caller]
    pub fn show(&self, run: &str) -> Value {
        self.json(["show", "--json", run])
    }

    /// Waits for a run to end and returns what `show --json` says then.
    #[track_caller]
    pub fn ended(&self, run: &str) -> Value {
        let output = self.call(["wait", run]);
        let shown = self.show(run);
        let status = shown["status"].as_str().unwrap_or_default();
        assert!(
            ["Completed", "Failed", "Canceled"].contains(&status),
            "wait returned ({}) while the run is {status}: {}",
            output.status,
            text(&output.stderr),
        );
        shown
    }

    /// Returns the directory of a run.
    #[must_use]
    pub fn run_directory(&self, run: &str) -> PathBuf {
        self.home().join("runs").join(run)
    }

    /// Returns the pid of the agent that answers here.
    #[track_caller]
    pub fn agent_pid(&self) -> i32 {
        let pid = self.json(["agent", "status", "--json"])["pid"].as_i64().unwrap();
        i32::try_from(pid).unwrap()
    }

    /// Kills the agent as a power cut would and waits until it is gone.
    #[track_caller]
    pub fn kill_agent(&self) {
        let pid = self.agent_pid();
        kill(pid);
        wait_until("the killed agent is gone", || !is_alive(pid));
    }
}

impl Default for Yard {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        for run in fs::read_dir(self.home().join("runs")).into_iter().flatten().flatten() {
            if !run.path().join("exit.json").exists() {
                let run = run.file_name();
                drop(self.trainyard().args(["cancel", "--now"]).arg(run).output());
            }
        }
        drop(self.trainyard().args(["agent", "stop"]).output());
    }
}

/// Returns the binary under test: the one built beside this test.
///
/// # Panics
///
/// When it was not built: `tests/run` does that, and so does `cargo build`.
#[must_use]
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let binary = profile.join("trainyard");
    assert!(binary.exists(), "{binary:?} is not built: run cargo build first");
    binary
}

/// Returns this machine's `PATH`, and behind it the directory of the uv that `TRAINYARD_TEST_UV`
/// names: a Python may be in there, too.
fn search_path() -> OsString {
    let path = std::env::var_os("PATH").unwrap();
    let Some(uv) = std::env::var_os("TRAINYARD_TEST_UV").map(PathBuf::from) else { return path };
    let directory = if uv.is_dir() { uv } else { uv.parent().unwrap().to_owned() };
    std::env::join_paths(std::env::split_paths(&path).chain([directory])).unwrap()
}

/// Returns a Python interpreter itself, not a shim in front of it.
#[must_use]
pub fn python() -> PathBuf {
    let asked = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable, end='')"])
        .output()
        .expect("python3 is on PATH");
    PathBuf::from(text(&asked.stdout))
}

/// Returns bytes as text, for messages and comparisons.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Sends SIGKILL to one process; one that is gone already is what was wanted.
pub fn kill(pid: i32) {
    let sent = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
    assert!(matches!(sent, Ok(()) | Err(nix::errno::Errno::ESRCH)), "{sent:?}");
}

/// Tells whether a process exists and is not a zombie.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Returns the pids of the processes whose environment names `run`.
#[must_use]
pub fn processes_of(run: &str) -> Vec<i32> {
    let marker = format!("TRAINYARD_RUN_ID={run}");
    let numbered = fs::read_dir("/proc").unwrap().flatten();
    let pids = numbered.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == marker.as_bytes())
            && is_alive(*pid)
    })
    .collect()
}

/// Returns the pids of the two processes that look after a run: the guard and the supervisor.
#[must_use]
pub fn supervisors(yard: &Yard, run: &str) -> [i32; 2] {
    let record = fs::read(yard.run_directory(run).join("supervisor.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    ["guard", "supervisor"]
        .map(|process| i32::try_from(record[process]["pid"].as_i64().unwrap()).unwrap())
}

/// Kills both, as the kernel would for want of memory.
pub fn kill_supervisors(yard: &Yard, run: &str) {
    supervisors(yard, run).into_iter().for_each(kill);
}

/// Waits until `holds`, for things that give no event. It looks again after a few milliseconds, or
/// after twice the time that a look takes: what is waited for needs the processor as well.
///
/// # Panics
///
/// When [`PATIENCE`] has passed.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    loop {
        let asked = Instant::now();
        if holds() {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        let rest = asked.elapsed() * 2;
        std::thread::sleep(rest.clamp(Duration::from_millis(5), Duration::from_millis(250)));
    }
}

/// Makes a file executable.
pub fn make_executable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
