//! Starts the script in a sandbox, and hears from the stage within how it goes.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, kill_process};

use crate::process_identity::ProcessStat;
use crate::run_directory::RunDirectory;
use crate::sandbox::bwrap;
use crate::sandbox::cgroup::Join;
use crate::sandbox::inner::Inside;
use crate::sandbox::mounts::{MountRefused, OpenedMounts};
use crate::sandbox::network::RoomNetwork;
use crate::sandbox::plan::{Plan, Rooms};
use crate::sandbox::refused_calls::{Listener, RefusedCalls};
use crate::sandbox::report::{self, Heard, Report};
use crate::supervisor::network_keeper::{Namespaces, NetworkKeeper};
use crate::supervisor::script::{RunningScript, Script, StartError, detach, explain, pipe};
use crate::supervisor::verdict::{Ending, ScriptStatus};
use crate::supervisor::watches::{LOOK_AGAIN, Watches};

/// How long the rooms may take to be made: a mounted disk may be slow to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no script in a sandbox.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    /// The script is at fault.
    #[error(transparent)]
    Script(#[from] StartError),
    /// Bubblewrap ended before the stage within it began.
    #[error("the sandbox could not be made: {words}")]
    NotMade { words: String },
    /// A layer is missing.
    #[error("the sandbox could not be closed: {message}")]
    NotClosed { message: String },
    /// The network of its own was not to be had.
    #[error("the sandbox's network could not be made: {words}")]
    NotConnected { words: String },
    /// What was to be shown is not.
    #[error(transparent)]
    Mount(#[from] MountRefused),
    /// Somebody wanted the end of the run meanwhile.
    #[error("the run's end was wanted")]
    Ended { ending: Ending },
    /// There is not even what is needed to try.
    #[error("the sandbox could not be started")]
    Start { source: io::Error },
}

/// Where it is heard that somebody wants the end of a run, while its sandbox is being made.
#[derive(Clone, Copy)]
pub(crate) struct Wishes<'a> {
    pub(crate) run: &'a RunDirectory,
    pub(crate) watches: &'a Watches,
}

/// The way to the stage within a sandbox.
#[derive(Debug)]
pub(crate) struct Sandboxed {
    socket: OwnedFd,
    /// Our child: bubblewrap, or the stage itself.
    pub(crate) outer: i32,
    /// Whether it is bubblewrap, with the stage as its only child.
    pub(crate) has_rooms: bool,
    /// Who keeps its network, if it has one that is connected.
    keeper: Option<NetworkKeeper>,
    /// Where it is heard which system calls are refused, if that is told.
    calls: Option<Listener>,
    /// How the script ended.
    status: Option<ScriptStatus>,
    is_silent: bool,
}

impl Sandboxed {
    /// Hears what there is to hear. Does not wait.
    pub(crate) fn look(&mut self) {
        if let Some(calls) = &mut self.calls {
            calls.look();
        }
        while !self.is_silent {
            match Report::hear(&self.socket, false) {
                Ok(Some(heard)) => match heard.report {
                    Report::Code { code } => self.status = Some(ScriptStatus::Code(code)),
                    Report::Signal { signal } => self.status = Some(ScriptStatus::Signal(signal)),
                    _ => {}
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(None) | Err(_) => self.is_silent = true,
            }
        }
    }

    /// Says how the script ended. With the stage it dies too, killed.
    pub(crate) fn status(&self) -> Option<ScriptStatus> {
        let killed = ScriptStatus::Signal(Signal::SIGKILL as i32);
        self.status.or_else(|| self.is_silent.then_some(killed))
    }

    /// Ends its network.
    pub(crate) fn disconnect(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.close();
        }
    }

    /// Says whether `process` is none of the run's but what its sandbox is made of.
    pub(crate) fn is_made_of(&self, process: &ProcessStat) -> bool {
        let keeper = self.keeper.as_ref().map(NetworkKeeper::pid);
        let is_or_is_below = |pid| process.pid == pid || process.parent == pid;
        keeper.is_some_and(is_or_is_below)
            || process.pid == self.outer
            || (self.has_rooms && process.parent == self.outer)
    }

    /// Returns what becomes readable when there is something to hear.
    pub(crate) fn wakes(&self) -> Vec<BorrowedFd<'_>> {
        let socket = (!self.is_silent).then(|| self.socket.as_fd());
        socket.into_iter().chain(self.calls.as_ref().and_then(Listener::wakes)).collect()
    }

    /// Returns which system calls were refused, if that was told.
    pub(crate) fn refused_calls(&self) -> Option<RefusedCalls> {
        self.calls.as_ref().map(|calls| calls.calls().clone())
    }
}

/// Starts `script` as planned, where it finds `mounts`. It enters the cgroups of `join` with all
/// that is around it.
pub(crate) fn start(
    script: &Script<'_>,
    (plan, mounts): (&Plan, &OpenedMounts),
    join: Option<Arc<Join>>,
    wishes: Wishes<'_>,
) -> Result<(RunningScript, Sandboxed), SandboxError> {
    let program = script.program.first().ok_or(StartError::Nothing)?;
    if !script.working_directory.is_dir() {
        return Err(StartError::NoDirectory { path: script.working_directory.clone() }.into());
    }
    let (stdout, theirs_out) = pipe().map_err(|source| StartError::Pipe { source })?;
    let (stderr, theirs_err) = pipe().map_err(|source| StartError::Pipe { source })?;
    let mut rooms = plan.rooms.clone();
    let allowed = match &mut rooms {
        Some(rooms) => mounts.in_rooms(rooms),
        None => mounts.in_place(),
    };
    let inside = Inside {
        program: script.program.to_vec(),
        environment: script.environment.clone(),
        working_directory: script.working_directory.clone(),
        allowed: allowed.map_err(|source| SandboxError::Start { source })?,
        fence: plan.fence.clone(),
        filter: plan.filter,
    };
    let (mut keeper, namespaces) = network(rooms.as_ref())?.unzip();
    let begun = begin(&inside, rooms.as_ref(), namespaces, [theirs_out, theirs_err], join);
    let Begun { outer, socket, mut words } =
        begun.map_err(|source| SandboxError::Start { source })?;
    match first_reports(&socket, wishes) {
        Ok((pid, calls)) => {
            let (status, is_silent, has_rooms) = (None, false, plan.rooms.is_some());
            let sandboxed =
                Sandboxed { socket, outer, has_rooms, keeper, calls, status, is_silent };
            Ok((RunningScript { pid, stdout, stderr }, sandboxed))
        }
        Err(never) => {
            end(outer);
            let network_words = keeper.as_mut().map(NetworkKeeper::words).unwrap_or_default();
            if let Some(keeper) = keeper {
                keeper.close();
            }
            Err(match never {
                Never::Wanted(ending) => SandboxError::Ended { ending },
                Never::Connected => SandboxError::NotConnected { words: network_words },
                Never::Executed(errno) => {
                    let source = io::Error::from_raw_os_error(errno);
                    explain(program, &script.working_directory, source, plan.rooms.is_some()).into()
                }
                Never::Closed(message) => SandboxError::NotClosed { message },
                Never::Made(why) => {
                    let said = said(&mut words);
                    SandboxError::NotMade { words: if said.is_empty() { why } else { said } }
                }
            })
        }
    }
}

/// Has a network made where `rooms` have one that is connected. It is not yet when this returns:
/// the stage within waits for that.
fn network(rooms: Option<&Rooms>) -> Result<Option<(NetworkKeeper, Namespaces)>, SandboxError> {
    let Some(RoomNetwork::Connected(pasta)) = rooms.map(|rooms| &rooms.network) else {
        return Ok(None);
    };
    let mut keeper =
        NetworkKeeper::start(pasta).map_err(|source| SandboxError::Start { source })?;
    match keeper.namespaces() {
        Ok(made) => Ok(Some((keeper, made))),
        Err(words) => {
            keeper.close();
            Err(SandboxError::NotConnected { words })
        }
    }
}

/// What was started, with our end of the socket and what it has to say besides.
struct Begun {
    outer: i32,
    socket: OwnedFd,
    words: File,
}

/// Starts the stage within, or around it what makes its rooms.
fn begin(
    inside: &Inside,
    rooms: Option<&Rooms>,
    network: Option<Namespaces>,
    [stdout, stderr]: [OwnedFd; 2],
    join: Option<Arc<Join>>,
) -> io::Result<Begun> {
    let (socket, theirs) = report::pair()?;
    let told = in_memory("inside", &serde_json::to_vec(inside)?)?;
    let words = in_memory("words", b"")?;
    let stage = File::open("/proc/self/exe")?;
    let stage_path = format!("/proc/self/fd/{}", stage.as_raw_fd());
    let mut passed: Vec<OwnedFd> = vec![theirs, told.into(), stdout, stderr];
    let network = network.map(|Namespaces { connected, way_in }| {
        passed.push(connected);
        way_in
    });
    let numbers: Vec<OsString> =
        passed.iter().map(|fd| fd.as_raw_fd().to_string().into()).collect();
    passed.push(stage.into());
    let mut command = match rooms {
        None => Command::new(&stage_path),
        Some(rooms) => {
            let list = in_memory("arguments", &bwrap::file(&bwrap::arguments(rooms)))?;
            let mut command = Command::new(&rooms.bwrap);
            command.arg("--args").arg(list.as_raw_fd().to_string());
            passed.push(list.into());
            command.arg("--").arg(&stage_path);
            command
        }
    };
    command.arg("sandboxed").args(numbers).env_clear().current_dir(Path::new("/"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(words.try_clone()?);
    let mut detach = detach(join);
    let pass = move || {
        if let Some(way_in) = &network {
            way_in.enter()?;
        }
        for fd in &passed {
            fcntl_setfd(fd, FdFlags::empty())?;
        }
        detach()
    };
    // SAFETY: the closure makes a few system calls and touches no memory that another thread
    // could hold a lock on: it neither allocates nor panics.
    unsafe { command.pre_exec(pass) };
    let outer = command.spawn()?.id().cast_signed();
    Ok(Begun { outer, socket, words })
}

/// A file without a name, for whoever inherits it.
pub(super) fn in_memory(name: &str, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// How it did not come to a script.
enum Never {
    Wanted(Ending),
    Connected,
    Executed(i32),
    Closed(String),
    Made(String),
}

/// Hears until the script runs, and returns its number and where refused calls are heard of.
fn first_reports(socket: &OwnedFd, wishes: Wishes<'_>) -> Result<(i32, Option<Listener>), Never> {
    let begun = Instant::now();
    let (mut script, mut calls) = (None, None);
    loop {
        if let Some(ending) = wishes.watches.wanted_end(wishes.run) {
            return Err(Never::Wanted(ending));
        }
        if begun.elapsed() > PATIENCE {
            return Err(Never::Made(format!("it was not there within {} s", PATIENCE.as_secs())));
        }
        wait_for([socket.as_fd()].into_iter().chain(wishes.watches.fds()));
        let Heard { report, descriptor } = match Report::hear(socket, false) {
            Ok(Some(heard)) => heard,
            Ok(None) => return Err(Never::Made("it ended without a word".to_owned())),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => continue,
                _ => return Err(Never::Made(error.to_string())),
            },
        };
        match report {
            Report::Filtered => calls = descriptor.map(Listener::new),
            Report::Here { pid } => script = Some(pid),
            Report::Started => {
                let script = script.ok_or_else(|| Never::Made("it has no process".to_owned()))?;
                return Ok((script, calls));
            }
            Report::NotStarted { errno } => return Err(Never::Executed(errno)),
            Report::NotConnected => return Err(Never::Connected),
            Report::NotSetUp { message } => return Err(Never::Closed(message)),
            Report::Code { .. } | Report::Signal { .. } => {}
        }
    }
}

/// Waits until one of `fds` is readable, or it is time to look again anyway.
fn wait_for<'a>(fds: impl Iterator<Item = BorrowedFd<'a>>) {
    let mut fds: Vec<_> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    let again = Timespec::try_from(LOOK_AGAIN).ok();
    // An interruption is as good as an event: everything is looked at anyway.
    let _interrupted = poll(&mut fds, again.as_ref());
}

/// Ends what was started in vain; with it go its rooms.
fn end(outer: i32) {
    if let Some(pid) = Pid::from_raw(outer) {
        let _ended_by_itself = kill_process(pid, rustix::process::Signal::KILL);
        let _reaped = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
    }
}

/// Returns what was said, on one line.
pub(super) fn said(words: &mut File) -> String {
    let mut text = String::new();
    // What cannot be read was not said.
    let _unread = words.rewind().and_then(|()| words.take(4096).read_to_string(&mut text));
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}
