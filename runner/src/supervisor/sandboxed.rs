//! Starts the script in a sandbox, and hears from the stage within how it goes.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, kill_process};

use crate::sandbox::bwrap;
use crate::sandbox::cgroup::Join;
use crate::sandbox::inner::Inside;
use crate::sandbox::plan::{Plan, Rooms};
use crate::sandbox::report::{self, Report};
use crate::supervisor::script::{RunningScript, Script, StartError, detach, explain, pipe};
use crate::supervisor::verdict::ScriptStatus;

/// How long the rooms may take to be made, in seconds: a mounted disk may be slow to answer.
const PATIENCE: i64 = 60;

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
    /// What was to be shown is a link to what no run sees, made since it was checked or by a run.
    #[error("--mount {} leads to {}, which no run is shown: {why}", link.display(), real.display())]
    Guarded { link: PathBuf, real: PathBuf, why: String },
    /// There is not even what is needed to try.
    #[error("the sandbox could not be started")]
    Start { source: io::Error },
}

/// The way to the stage within a sandbox.
#[derive(Debug)]
pub(crate) struct Sandboxed {
    socket: OwnedFd,
    /// Our child: bubblewrap, or the stage itself.
    pub(crate) outer: i32,
    /// Whether it is bubblewrap, with the stage as its only child.
    pub(crate) has_rooms: bool,
    /// How the script ended.
    status: Option<ScriptStatus>,
    is_silent: bool,
}

impl Sandboxed {
    /// Hears what there is to hear. Does not wait.
    pub(crate) fn look(&mut self) {
        while !self.is_silent {
            match Report::hear(&self.socket, false) {
                Ok(Some(Report::Code { code })) => self.status = Some(ScriptStatus::Code(code)),
                Ok(Some(Report::Signal { signal })) => {
                    self.status = Some(ScriptStatus::Signal(signal));
                }
                Ok(Some(_)) => {}
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

    /// Returns what becomes readable when there is something to hear.
    pub(crate) fn wakes(&self) -> Option<BorrowedFd<'_>> {
        (!self.is_silent).then(|| self.socket.as_fd())
    }
}

/// Starts `script` as planned. It enters the cgroups of `join` with all that is around it.
pub(crate) fn start(
    script: &Script<'_>,
    plan: &Plan,
    join: Option<Arc<Join>>,
) -> Result<(RunningScript, Sandboxed), SandboxError> {
    let program = script.program.first().ok_or(StartError::Nothing)?;
    if !script.working_directory.is_dir() {
        return Err(StartError::NoDirectory { path: script.working_directory.clone() }.into());
    }
    let (stdout, theirs_out) = pipe().map_err(|source| StartError::Pipe { source })?;
    let (stderr, theirs_err) = pipe().map_err(|source| StartError::Pipe { source })?;
    let inside = Inside {
        program: script.program.to_vec(),
        environment: script.environment.clone(),
        working_directory: script.working_directory.clone(),
        fence: plan.fence.clone(),
        filter: plan.filter,
    };
    let begun = begin(&inside, plan.rooms.as_ref(), [theirs_out, theirs_err], join);
    let Begun { outer, socket, mut words } =
        begun.map_err(|source| SandboxError::Start { source })?;
    match first_reports(&socket) {
        Ok(pid) => {
            let has_rooms = plan.rooms.is_some();
            let sandboxed = Sandboxed { socket, outer, has_rooms, status: None, is_silent: false };
            Ok((RunningScript { pid, stdout, stderr }, sandboxed))
        }
        Err(never) => {
            end(outer);
            Err(match never {
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
    [stdout, stderr]: [OwnedFd; 2],
    join: Option<Arc<Join>>,
) -> io::Result<Begun> {
    let (socket, theirs) = report::pair()?;
    let told = in_memory("inside", &serde_json::to_vec(inside)?)?;
    let words = in_memory("words", b"")?;
    let stage = File::open("/proc/self/exe")?;
    let mut passed: Vec<OwnedFd> = vec![theirs, told.into(), stdout, stderr, stage.into()];
    let at = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let stage_path = at(&passed[4]);
    let numbers: Vec<OsString> =
        passed[..4].iter().map(|fd| fd.as_raw_fd().to_string().into()).collect();
    let mut command = match rooms {
        None => Command::new(&stage_path),
        Some(rooms) => {
            let list = in_memory("arguments", &bwrap::file(&bwrap::arguments(rooms)))?;
            passed.push(list.into());
            let mut command = Command::new(&rooms.bwrap);
            command.arg("--args").arg(passed[5].as_raw_fd().to_string());
            command.arg("--").arg(&stage_path);
            command
        }
    };
    command.arg("sandboxed").args(numbers).env_clear().current_dir(Path::new("/"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(words.try_clone()?);
    let mut detach = detach(join);
    let pass = move || {
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
fn in_memory(name: &str, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// How it did not come to a script.
enum Never {
    Executed(i32),
    Closed(String),
    Made(String),
}

/// Hears until the script runs, and returns its number.
fn first_reports(socket: &OwnedFd) -> Result<i32, Never> {
    let mut script = None;
    loop {
        let patience = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
        let mut fds = [PollFd::new(socket, PollFlags::IN)];
        if poll(&mut fds, Some(&patience)).is_ok_and(|ready| ready == 0) {
            return Err(Never::Made(format!("it was not there within {PATIENCE} s")));
        }
        match Report::hear(socket, true) {
            Ok(Some(Report::Here { pid })) => script = Some(pid),
            Ok(Some(Report::Started)) => {
                return script.ok_or_else(|| Never::Made("it has no process".to_owned()));
            }
            Ok(Some(Report::NotStarted { errno })) => return Err(Never::Executed(errno)),
            Ok(Some(Report::NotSetUp { message })) => return Err(Never::Closed(message)),
            Ok(Some(Report::Code { .. } | Report::Signal { .. })) => {}
            Ok(None) => return Err(Never::Made("it ended without a word".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Never::Made(error.to_string())),
        }
    }
}

/// Ends what was started in vain; with it go its rooms.
fn end(outer: i32) {
    if let Some(pid) = Pid::from_raw(outer) {
        let _ended_by_itself = kill_process(pid, rustix::process::Signal::KILL);
        let _reaped = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
    }
}

/// Returns what was said, on one line.
fn said(words: &mut File) -> String {
    let mut text = String::new();
    // What cannot be read was not said.
    let _unread = words.rewind().and_then(|()| words.take(4096).read_to_string(&mut text));
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}
