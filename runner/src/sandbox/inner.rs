//! The inner stage of a sandbox: `trainyard sandboxed`, the first process in its namespaces. Puts
//! itself behind the remaining layers, starts the script behind them, reaps, and reports its end.
//!
//! What it is told comes from a descriptor, so that nothing of it is seen in a process list. The
//! script is of the same user, yet cannot reach this process: it is not dumpable, so that neither
//! its memory nor its descriptors are there for others, and signals from within do not reach the
//! first process of a namespace. It is killed with whoever started it, who has seen to that.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::setsid;
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, WaitOptions, WaitStatus, set_dumpable_behavior, wait};
use rustix::thread::{
    CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};
use serde::{Deserialize, Serialize};
use snapshots::error_chain::chain;

use super::landlock::Fence;
use super::mounts::Allowed;
use super::report::{self, Report};
use super::system_calls;
use crate::supervisor::close_inherited_files;

/// What the inner stage is told.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Inside {
    /// What to start.
    pub(crate) program: Vec<String>,
    /// With these variables and no others.
    pub(crate) environment: BTreeMap<String, String>,
    /// Here.
    pub(crate) working_directory: PathBuf,
    /// Where these are found.
    pub(crate) allowed: Vec<Allowed>,
    /// Behind this, if anything.
    pub(crate) fence: Option<Fence>,
    /// Whether with fewer system calls.
    pub(crate) filter: bool,
}

/// The descriptors that the inner stage is given, in the order of its arguments.
struct Given {
    report: OwnedFd,
    inside: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
    /// Ends, after a byte if all went well, when there is a network to wait for.
    network: Option<OwnedFd>,
}

/// Carries out `trainyard sandboxed REPORT INSIDE STDOUT STDERR [NETWORK]`, each the number of a
/// descriptor.
/// Must be called from a process that has one thread only.
#[must_use]
pub fn main(arguments: &[OsString]) -> ExitCode {
    let Some(given) = Given::take(arguments) else {
        eprintln!("`trainyard sandboxed` is started by the supervisor of a run only");
        return ExitCode::from(2);
    };
    let report = given.report.as_fd();
    if given.network.is_some_and(|network| !is_connected(network)) {
        Report::NotConnected.say(report);
        return ExitCode::FAILURE;
    }
    match set_up(&given.inside, report) {
        Ok(inside) => match start(inside, report, given.stdout, given.stderr) {
            Ok(script) => reap(script, report),
            Err(error) => {
                Report::NotStarted { errno: error.raw_os_error().unwrap_or(0) }.say(report);
                return ExitCode::FAILURE;
            }
        },
        Err(error) => {
            Report::NotSetUp { message: chain(&*error) }.say(report);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

impl Given {
    fn take(arguments: &[OsString]) -> Option<Self> {
        let mut given = arguments.iter().map(|number| inherited(number));
        let mut next = || given.next().flatten();
        let (report, inside, stdout, stderr) = (next()?, next()?, next()?, next()?);
        Some(Self { report, inside, stdout, stderr, network: next() })
    }
}

/// Takes the descriptor with this number, if it is open and not one of the standard streams.
pub(super) fn inherited(number: &OsStr) -> Option<OwnedFd> {
    let number: i32 = number.to_str()?.parse().ok()?;
    let is_open = number > 2
        && nix::fcntl::fcntl(
            // SAFETY: borrowed for one call, which fails on a descriptor that is not open.
            unsafe { BorrowedFd::borrow_raw(number) },
            nix::fcntl::FcntlArg::F_GETFD,
        )
        .is_ok();
    // SAFETY: it is open, and whoever started this process made it for us alone.
    is_open.then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// Waits until the network is connected, or says that it never will be.
fn is_connected(network: OwnedFd) -> bool {
    let mut byte = [0];
    File::from(network).read_exact(&mut byte).is_ok()
}

/// Reads what is to be done and puts up all layers, in the only order that works: each takes away
/// what the ones before it need.
fn set_up(inside: &OwnedFd, report: BorrowedFd<'_>) -> Result<Inside, Box<dyn Error>> {
    close_inherited_files()?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let inside: Inside = serde_json::from_reader(File::from(inside.try_clone()?))?;
    for limit in [Resource::RLIMIT_CORE, Resource::RLIMIT_RTPRIO, Resource::RLIMIT_NICE] {
        setrlimit(limit, 0, 0)?;
    }
    drop_capabilities()?;
    set_no_new_privs(true)?;
    let opened = inside.allowed.iter().map(Allowed::open).collect::<Result<_, _>>()?;
    if let Some(fence) = &inside.fence {
        fence.put_up(&opened)?;
    }
    if inside.filter
        && let Some(told) = system_calls::install()?
    {
        Report::Filtered.say_with(report, told.as_fd())?;
    }
    Ok(inside)
}

/// Gives up all capabilities, and that any program could gain one.
fn drop_capabilities() -> io::Result<()> {
    for bit in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Beyond the last one of this kernel.
            Err(Errno::INVAL) => break,
            // Not ours to empty; nothing is gained from it without new privileges.
            Err(Errno::PERM) => break,
            Err(error) => return Err(error.into()),
        }
    }
    // With these the kernel empties the ambient set.
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}

/// Starts the script in a session of its own, and returns its number here.
fn start(
    inside: Inside,
    report: BorrowedFd<'_>,
    stdout: OwnedFd,
    stderr: OwnedFd,
) -> io::Result<u32> {
    let (program, arguments) = inside.program.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(&inside.environment)
        .current_dir(&inside.working_directory)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr);
    let here = report.try_clone_to_owned()?;
    let detach = move || {
        setsid()?;
        set_pdeathsig(Signal::SIGKILL)?;
        report::say_here(&here)
    };
    // SAFETY: the closure makes three system calls: it neither allocates nor panics.
    unsafe { command.pre_exec(detach) };
    let script = command.spawn()?.id();
    Report::Started.say(report);
    Ok(script)
}

/// Reaps until there is nobody left, and reports how the script ended. Those that outlive it are
/// ended by the supervisor, which ends this process.
fn reap(script: u32, report: BorrowedFd<'_>) {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get().cast_unsigned() == script => {
                if let Some(ended) = ended(status) {
                    ended.say(report);
                }
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

fn ended(status: WaitStatus) -> Option<Report> {
    let code = status.exit_status().map(|code| Report::Code { code });
    code.or_else(|| status.terminating_signal().map(|signal| Report::Signal { signal }))
}
