//! Starting an agent for this user.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::workspace::socket_address::SocketAddress;
use crate::workspace::{Workspace, WorkspaceError};

/// How long an agent may take until it answers; it may have many runs to find again.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often an agent is started that is killed before it is ready: not by what it does itself.
const ATTEMPTS: u32 = 3;

/// Why no agent could be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The socket is somebody else's, so is the agent that should answer there.
    #[error("no agent answers on {socket:?}, and it is not ours to start one there")]
    NotOurs {
        /// The socket.
        socket: PathBuf,
    },
    /// The state directory cannot be used.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// Something of the system did not work.
    #[error("cannot {action} to start an agent")]
    System {
        /// What was being done.
        action: &'static str,
        /// What the system answered.
        source: io::Error,
    },
    /// The agent ended before it was ready.
    #[error("the agent did not start: {message}")]
    Ended {
        /// What it said.
        message: String,
    },
    /// Somebody killed the agent before it was ready, again and again.
    #[error("the agent was killed by signal {signal} while it started, {ATTEMPTS} times")]
    Killed {
        /// The signal.
        signal: i32,
    },
    /// The agent took too long.
    #[error("the agent (pid {pid}) is not ready after {} s", PATIENCE.as_secs())]
    Slow {
        /// Its process.
        pid: u32,
    },
}

impl StartError {
    /// Returns what to do next.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotOurs { .. } => Some(
                "ask whoever looks after that agent, or unset TRAINYARD_SOCKET to use your own",
            ),
            Self::Workspace(error) => error.hint(),
            Self::Killed { .. } => {
                Some("`dmesg` says whether the kernel did it for want of memory")
            }
            Self::Slow { .. } => Some("agent.log in the state directory says what it does"),
            Self::System { .. } | Self::Ended { .. } => None,
        }
    }
}

fn system(action: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::System { action, source }
}

/// Starts an agent, detached from this terminal, and returns when it answers. Returns at once if
/// one answers already: of several callers at once, one starts an agent and the others wait.
pub(super) fn start(workspace: &Workspace) -> Result<(), StartError> {
    workspace.create()?;
    let directory = workspace.socket().parent().and_then(|parent| parent.metadata().ok());
    if directory.is_none_or(|found| found.uid() != rustix::process::geteuid().as_raw()) {
        return Err(StartError::NotOurs { socket: workspace.socket().to_owned() });
    }
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(workspace.home().join("agent.starting"))
        .map_err(system("open the lock file"))?;
    lock.lock().map_err(system("take the lock"))?;
    if answers(workspace) {
        return Ok(());
    }
    let mut attempt = 1;
    let ready = loop {
        match wait_until_ready(&mut spawn(workspace)?) {
            Err(StartError::Killed { .. }) if attempt < ATTEMPTS => attempt += 1,
            ready => break ready,
        }
    };
    // Somebody else's agent may have been quicker, started by hand or by systemd.
    if matches!(ready, Err(StartError::Ended { .. })) && answers(workspace) {
        Ok(())
    } else {
        ready
    }
}

/// Tells whether somebody listens on the socket.
fn answers(workspace: &Workspace) -> bool {
    SocketAddress::of(workspace.socket())
        .is_ok_and(|address| UnixStream::connect(address.path()).is_ok())
}

fn spawn(workspace: &Workspace) -> Result<Child, StartError> {
    let program = std::env::current_exe().map_err(system("find this program"))?;
    Command::new(program)
        .args(["agent", "run", "--detached"])
        .env("TRAINYARD_HOME", workspace.home())
        .env("TRAINYARD_SOCKET", workspace.socket())
        // It is ours for another agent, and no run's.
        .env_remove("TRAINYARD_TOKEN")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(system("start this program"))
}

/// Waits for `ready` on the agent's standard output. Its end without that is the agent's end.
fn wait_until_ready(child: &mut Child) -> Result<(), StartError> {
    let deadline = Instant::now() + PATIENCE;
    let (mut said, mut chunk) = (Vec::new(), [0; 64]);
    let Some(mut out) = child.stdout.take() else { return Ok(()) };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        let mut wanted = [PollFd::from_borrowed_fd(out.as_fd(), PollFlags::IN)];
        match rustix::event::poll(&mut wanted, timeout.as_ref()) {
            Ok(0) => return Err(StartError::Slow { pid: child.id() }),
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(system("wait for it")(error.into())),
            Ok(_) => {}
        }
        let read = out.read(&mut chunk).map_err(system("read what it says"))?;
        said.extend_from_slice(&chunk[..read]);
        if said.ends_with(b"ready\n") {
            return Ok(());
        }
        if read == 0 {
            return Err(end(child));
        }
    }
}

/// Returns how an agent ended, and what it said on standard error.
fn end(child: &mut Child) -> StartError {
    let mut words = String::new();
    if let Some(mut err) = child.stderr.take() {
        err.read_to_string(&mut words).ok();
    }
    if let Some(signal) = child.wait().ok().and_then(|status| status.signal()) {
        return StartError::Killed { signal };
    }
    let line = words.lines().rfind(|line| line.contains("error")).or_else(|| words.lines().last());
    let line = line.map(|line| line.trim_start_matches("error: ").trim());
    let message = line.filter(|line| !line.is_empty()).unwrap_or("it said nothing").to_owned();
    StartError::Ended { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_by(line: &str) -> String {
        let mut child = Command::new("/bin/sh");
        let child = child.args(["-c", line]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        wait_until_ready(&mut child.unwrap())
            .map_or_else(|error| error.to_string(), |()| "ready".into())
    }

    #[test]
    fn how_a_start_ended_is_said() {
        let said =
            ["echo ready", "echo 'error: no' >&2; exit 1", "exit 1", "kill -9 $$"].map(said_by);
        insta::assert_snapshot!(said.join("\n"), @r"
        ready
        the agent did not start: no
        the agent did not start: it said nothing
        the agent was killed by signal 9 while it started, 3 times
        ");
    }
}
