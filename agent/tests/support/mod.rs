//! An agent of its own for each test, and a way to talk to it that is not the command line's.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_trainyard");

/// Longer than anything here takes on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A state directory, a source directory and, while it runs, an agent.
pub(crate) struct Workspace {
    directory: tempfile::TempDir,
    agent: Option<Child>,
}

/// An answer of the agent.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Workspace {
    /// Makes a workspace whose source has these files.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let this = Self { directory, agent: None };
        std::fs::create_dir(this.source()).unwrap();
        for (name, text) in files {
            std::fs::write(this.source().join(name), text).unwrap();
        }
        this
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.directory.path().join("source")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home().join("agent.sock")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).env("TRAINYARD_HOME", self.home()).current_dir(self.source());
        command.env_remove("TRAINYARD_SOCKET");
        command
    }

    /// Starts an agent and returns once it answers.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts an agent with these variables and returns once it answers.
    pub(crate) fn start_with(&mut self, variables: &[(&str, &str)]) {
        let mut command = self.command(&["agent", "run", "--detached"]);
        command.envs(variables.iter().copied());
        let mut agent = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        agent.stdout.take().unwrap().read_to_string(&mut ready).unwrap();
        assert_eq!(ready, "ready\n");
        self.agent = Some(agent);
    }

    /// Makes the command of an agent that is passed its socket, on which whoever can connect may
    /// come in.
    pub(crate) fn passed(&self) -> Command {
        std::fs::create_dir_all(self.home()).unwrap();
        let listener = UnixListener::bind(self.socket()).unwrap();
        // Nobody else can know the pid beforehand, nor put a socket at descriptor 3.
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec 3<&0 </dev/null; LISTEN_PID=$$ exec \"$0\" agent run"])
            .arg(PROGRAM)
            .env("TRAINYARD_HOME", self.home())
            .env_remove("TRAINYARD_SOCKET")
            .env("LISTEN_FDS", "1")
            .stdin(OwnedFd::from(listener))
            .stderr(Stdio::null());
        command
    }

    /// Starts an agent that answers every user of this machine.
    pub(crate) fn start_shared(&mut self, variables: &[(&str, &str)]) {
        let mut command = self.passed();
        for (path, mode) in [
            (self.directory.path().to_owned(), 0o755),
            (self.home(), 0o755),
            (self.socket(), 0o666),
        ] {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        self.agent = Some(command.envs(variables.iter().copied()).spawn().unwrap());
    }

    /// Ends the agent as a power cut would.
    pub(crate) fn kill(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// Waits for the agent's own end and says whether it was a good one.
    pub(crate) fn ended_well(&mut self) -> bool {
        self.agent.take().unwrap().wait().unwrap().success()
    }

    /// Runs the command line.
    pub(crate) fn trainyard(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Takes a snapshot of the source and returns its id.
    pub(crate) fn snapshot(&self) -> String {
        let source = self.source();
        let made = self.trainyard(&["snapshot", "create", "--json", source.to_str().unwrap()]);
        let made: Value = serde_json::from_slice(&made.stdout)
            .unwrap_or_else(|error| panic!("{error}: {made:?}"));
        made["snapshotId"].as_str().unwrap().to_owned()
    }

    /// Returns a submission that goes on to `then` once there is the file that is returned too,
    /// whose directory it is shown.
    pub(crate) fn gated(&self, then: &str) -> (Value, PathBuf) {
        let directory = self.source();
        let gate = directory.join("gate");
        let line = format!("while [ ! -e {gate:?} ]; do sleep 0.01; done; {then}");
        let mut submission = self.submission(&line);
        submission["mounts"] = serde_json::json!([{ "source": directory, "at": directory }]);
        (submission, gate)
    }

    /// A submission that runs the line `command`.
    pub(crate) fn submission(&self, command: &str) -> Value {
        serde_json::json!({
            "experiment": "exp",
            "command": command,
            "target": "local",
            "environment": { "kind": "userManaged", "interpreter": python() },
            "environmentName": "python",
            "snapshotId": self.snapshot(),
        })
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        call(&self.socket(), "GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        let body = body.to_string();
        call(&self.socket(), "POST", path, &["content-type: application/json"], body.as_bytes())
    }

    /// Hands in a run and returns its id.
    pub(crate) fn submit(&self, submission: &Value) -> String {
        let answer = self.post("/v1/runs", submission);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["runId"].as_str().unwrap().to_owned()
    }

    /// Follows a run to its end and returns the events, by name.
    pub(crate) fn follow(&self, run: &str) -> Vec<(String, Value)> {
        events(&self.get(&format!("/v1/runs/{run}/follow")).body)
    }

    /// Waits until `done` says so of a run.
    pub(crate) fn wait(&self, run: &str, done: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let found = self.get(&format!("/v1/runs/{run}")).json();
            if done(&found) {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "still {found}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let Some(mut agent) = self.agent.take() else { return };
        drop(call(&self.socket(), "POST", "/v1/agent/stop", &[], b""));
        drop(agent.wait());
    }
}

/// Any Python that can be found.
pub(crate) fn python() -> String {
    let found = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    String::from_utf8(found.unwrap().stdout).unwrap().trim().to_owned()
}

/// Carries `work` out on a thread of user `uid`, as whom the system then knows it. Only root can.
pub(crate) fn as_user<T: Send>(uid: u32, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let uid = rustix::process::Uid::from_raw(uid);
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Calls an agent. The answer is read until the agent ends the connection.
pub(crate) fn call(
    socket: &Path,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> Answer {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    ask(stream, method, path, &[headers, &["host: agent"]].concat(), body)
}

/// Asks whoever is at the other end of `stream`, which answers and ends it.
pub(crate) fn ask(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    for header in headers {
        head += &format!("{header}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    // An agent that refuses early does not read to the end.
    stream.write_all(&[head.as_bytes(), body].concat()).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..split].to_vec()).unwrap().to_ascii_lowercase();
    let mut body = answer.split_off(split + 4);
    if head.contains("transfer-encoding: chunked") {
        body = unchunked(&body);
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let length = std::str::from_utf8(&bytes[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        body.extend_from_slice(&bytes[end + 2..end + 2 + length]);
        bytes = &bytes[end + 2 + length + 2..];
        if length == 0 {
            break;
        }
    }
    body
}

fn events(body: &[u8]) -> Vec<(String, Value)> {
    let text = std::str::from_utf8(body).unwrap();
    let mut events = Vec::new();
    for block in text.split("\n\n").filter(|block| block.contains("data: ")) {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let data = serde_json::from_str(field("data: ").unwrap()).unwrap();
        events.push((field("event: ").unwrap().to_owned(), data));
    }
    events
}
