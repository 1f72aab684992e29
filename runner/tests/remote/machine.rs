//! A machine to speak to: a state directory, and servers that answer from it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use runner::remote::client::{Pipes, RemoteClient, Stream};
use runner::remote::files::RemoteHome;

/// Nothing here takes this long; what does, hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type ServerPipes = Pipes<ChildStdout, ChildStdin>;

/// A state directory of its own on this machine. Nothing of it is left running in the end.
pub(crate) struct Machine {
    directory: tempfile::TempDir,
    servers: Mutex<Vec<Child>>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, servers: Mutex::default() }
    }

    /// One on which every virtual environment waits to be built until the gate is open.
    pub(crate) fn with_gate() -> Self {
        let machine = Self::new();
        let bin = machine.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let tool = format!(
            "#!/bin/sh\ncase $1 in\n\
             --version) echo uv 0.0.0;;\n\
             venv) echo begun >> {0}/builds; while [ ! -e {0}/gate ]; do sleep 0.02; done\n\
             for last; do :; done; exec {1} -I -m venv --without-pip \"$last\";;\n\
             pip) echo installing;;\nesac\n",
            machine.path().display(),
            python(),
        );
        let path = bin.join("uv");
        fs::write(&path, tool).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        machine
    }

    pub(crate) fn open_gate(&self) {
        fs::write(self.path().join("gate"), "").unwrap();
    }

    /// Says how many builds have come to the gate.
    pub(crate) fn builds(&self) -> usize {
        fs::read_to_string(self.path().join("builds")).unwrap_or_default().lines().count()
    }

    pub(crate) fn home(&self) -> RemoteHome {
        RemoteHome::at(self.path().join("home"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the server's command, as a login there would start it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(program());
        let path = format!("{}/bin:/usr/local/bin:/usr/bin:/bin", self.path().display());
        command
            .args(["remote", "serve"])
            .env("TRAINYARD_REMOTE_HOME", self.home().path())
            .env("PATH", path);
        command
    }

    /// Starts a server and returns its pipes.
    pub(crate) fn serve(&self) -> ServerPipes {
        let mut command = self.command();
        let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let pipes = Pipes { from: server.stdout.take().unwrap(), to: server.stdin.take().unwrap() };
        self.servers.lock().unwrap().push(server);
        pipes
    }

    pub(crate) fn connect(&self) -> RemoteClient<ServerPipes> {
        greet(self.serve())
    }

    /// Waits until every server has ended, which their connections have.
    pub(crate) fn wait_for_servers(&self) {
        for mut server in self.servers.lock().unwrap().drain(..) {
            let begun = Instant::now();
            while server.try_wait().unwrap().is_none() {
                assert!(begun.elapsed() < PATIENCE, "a server outlives its connection");
                thread::sleep(Duration::from_millis(2));
            }
        }
    }

    /// Lists the processes that have to do with this machine.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let directory = self.path().as_os_str().as_encoded_bytes();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap() {
            let name = entry.unwrap().file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            let mut about = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            about.extend(fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default());
            if about.windows(directory.len()).any(|window| window == directory) {
                found.push(pid);
            }
        }
        found
    }

    /// Waits until no process keeps an environment.
    pub(crate) fn wait_until_keepers_are_gone(&self) {
        let prepares = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|word| word == b"prepare")
        };
        wait_until("nothing is kept", || !self.processes().iter().any(prepares));
    }

    /// Waits until nothing is left running.
    pub(crate) fn wait_until_quiet(&self) {
        self.wait_for_servers();
        wait_until("no process is left", || self.processes().is_empty());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A test that failed half-way leaves nothing running either.
        for pid in self.processes() {
            kill(pid);
        }
        for mut server in self.servers.lock().unwrap().drain(..) {
            let _ended = server.wait();
        }
    }
}

pub(crate) fn greet<S: Stream>(stream: S) -> RemoteClient<S> {
    RemoteClient::greet(stream).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn kill(pid: i32) {
    let pid = nix::unistd::Pid::from_raw(pid);
    let _gone = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
}

pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The program that stands for `trainyard` here.
fn program() -> PathBuf {
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
