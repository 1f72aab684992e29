//! The supervisor: one small process per run that owns its pipes, its log files, its end.
//!
//! Two processes, in fact:
//!
//! ```text
//! guard          waits for the supervisor; ends the run and says so if that one is killed
//! └─ supervisor  reads pipes, signals, cancel.json and deadlines in one loop
//!    └─ script   a session of its own; its descendants come back to us when orphaned
//! ```
//!
//! A script in a container is no child of ours: the engine starts it, and the supervisor and the
//! guard each have it killed and removed by the engine.
//!
//! Both are child subreapers, so no descendant of the script can escape by forking twice. If the
//! guard is killed, the supervisor goes on. If both are killed at once, the kernel kills the
//! script's main process with its parent, and [`ComputeTarget::settle`] ends the rest.
//!
//! [`ComputeTarget::settle`]: crate::compute_target::ComputeTarget::settle

use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use nix::sys::signal::{SigHandler, SigmaskHow, Signal, signal, sigprocmask};
use nix::unistd::{ForkResult, fork};
use rustix::io::{FdFlags, fcntl_setfd};
use snapshots::path_error::{IoContext as _, PathError};

pub(crate) use self::container::{LostError, end_container};
pub(crate) use self::guard::close_lost_run;
use crate::detached;
use crate::process_identity::ProcessIdentity;
use crate::run_directory::RunDirectory;

mod attempt;
pub mod claim;
mod container;
mod disk_watch;
mod event_loop;
pub mod events;
mod guard;
mod local_process;
mod log_writer;
mod masker;
pub(crate) mod network_keeper;
mod pace;
pub(crate) mod process_tree;
mod sandboxed;
mod sandboxing;
mod script;
mod secret_forms;
pub(crate) mod secrets;
mod temporary_directory;
mod verdict;
mod watches;
mod workload;

/// The exit code of a supervisor that could not do its work: [`ExitRecord::process_exit_code`]'s
/// for our own faults.
///
/// [`ExitRecord::process_exit_code`]: crate::exit_record::ExitRecord::process_exit_code
const OUR_FAULT: u8 = 125;

/// What the inner process tells the guard when the disk was full: `ENOSPC`.
const DISK_FULL: u8 = 28;

/// What a supervisor says first, on its standard output, which it then closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstWord {
    /// The run is ours and will be carried out.
    TakenOver,
    /// Somebody had it before.
    AlreadyStarted,
}

impl FirstWord {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::TakenOver => "taken over\n",
            Self::AlreadyStarted => "already started\n",
        }
    }

    /// Says it and closes standard output, so that whoever reads it need not wait for the end.
    fn say(self) {
        let mut out = io::stdout();
        // Nobody has to listen.
        let _nobody_listens = out.write_all(self.text().as_bytes()).and_then(|()| out.flush());
        close_standard_output();
    }
}

/// Lets whoever reads our standard output see its end.
fn close_standard_output() {
    if let Ok(null) = fs::OpenOptions::new().write(true).open("/dev/null") {
        let _stays_open = nix::unistd::dup2_stdout(&null);
    }
}

/// Carries out the run in `run_directory` and returns when it is over: `trainyard supervise DIR`.
///
/// Forks, so it must be called from a process that has one thread only: before any runtime.
/// Returns 0 when `exit.json` is written, whatever it says.
#[must_use]
pub fn supervise(run_directory: &Path) -> ExitCode {
    match fork_guard(run_directory) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::from(OUR_FAULT)
        }
    }
}

/// Leaves everything behind that came from whoever started us, then splits in two.
fn fork_guard(run_directory: &Path) -> Result<ExitCode, PathError> {
    let path = fs::canonicalize(run_directory).context("find", run_directory)?;
    let run = RunDirectory::new(path);
    let threads = fs::read_dir("/proc/self/task").context("list", "/proc/self/task")?.count();
    assert_eq!(threads, 1, "a supervisor forks: it must be started before any thread");
    close_inherited_files()?;
    detached::leave();
    reset_signals().context("set the signals of", "/proc/self")?;
    nix::sys::prctl::set_child_subreaper(true).context("adopt orphans in", "/proc/self")?;
    let guard = ProcessIdentity::of_this_process()?;
    // SAFETY: there is one thread, so the child finds no lock held by a thread it does not have.
    match unsafe { fork() }.context("fork", "/proc/self")? {
        ForkResult::Parent { child } => {
            // The first word is the child's.
            close_standard_output();
            Ok(guard::watch(&run, &guard, child.as_raw()))
        }
        ForkResult::Child => Ok(attempt::carry_out(&run, guard)),
    }
}

/// Marks all inherited files but the standard streams to be closed for the script.
pub(crate) fn close_inherited_files() -> Result<(), PathError> {
    let list = "/proc/self/fd";
    for entry in fs::read_dir(list).context("list", list)? {
        let name = entry.context("list", list)?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if number > 2 {
            // SAFETY: the descriptor was open a moment ago and this process has one thread; it
            // is borrowed for one call only, which fails harmlessly on one that is closed.
            let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
            let _closed_since = fcntl_setfd(fd, FdFlags::CLOEXEC);
        }
    }
    Ok(())
}

/// Handles no signal as the starter did; those the loop reads are blocked.
fn reset_signals() -> nix::Result<()> {
    for number in Signal::iterator() {
        let fixed = matches!(number, Signal::SIGKILL | Signal::SIGSTOP);
        // A broken pipe is an error to us, not an end; the script gets the default again.
        if !fixed && number != Signal::SIGPIPE {
            // SAFETY: the default action runs no code of this program.
            unsafe { signal(number, SigHandler::SigDfl) }?;
        }
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&event_loop::handled_signals()), None)
}

/// Says on standard error, which is `supervisor.log`, what went wrong and why.
fn complain(error: &dyn Error) {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    eprintln!("{text}");
}
