//! Processes that outlive whoever starts them.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{ForkResult, fork, setsid};

/// Starts `command` as nobody's child here, in a session of its own: it never waits to be reaped by
/// whoever started it, nor dies with it. What it has to say is appended to `log`, which only its
/// owner can read. Waits until it closes its stdout, and returns what it said there.
pub(crate) fn start(command: &mut Command, log: &Path) -> io::Result<String> {
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(log)?;
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    // SAFETY: `leave` makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(leave) };
    let mut child = command.spawn()?;
    let mut first_word = String::new();
    let read = child.stdout.take().map(|mut out| out.read_to_string(&mut first_word));
    // The process that was forked here has ended: the one that was meant is its child, not ours.
    child.wait()?;
    read.transpose()?;
    Ok(first_word)
}

/// Forks once more and lets the first process end.
fn leave() -> io::Result<()> {
    setsid()?;
    // SAFETY: called between fork and exec, where this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Child => Ok(()),
        // SAFETY: ends the process at once, without running what belongs to the program that
        // was forked: that is the point.
        ForkResult::Parent { .. } => unsafe { nix::libc::_exit(0) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process_identity::ProcessStat;

    #[test]
    fn a_detached_process_leads_no_child_of_ours_and_its_first_word_is_heard() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let script = "echo $$; echo complaint >&2; exec >&-; sleep 1000";

        let said = start(Command::new("sh").args(["-c", script]), &log).unwrap();

        let pid: i32 = said.trim().parse().unwrap();
        let process = ProcessStat::read(pid).unwrap().unwrap();
        let me = std::process::id().cast_signed();
        assert_ne!(process.parent, me);
        assert_ne!(process.session, ProcessStat::read(me).unwrap().unwrap().session);
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "complaint\n");
        let group = nix::unistd::Pid::from_raw(process.group);
        nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let start = start(&mut Command::new("/nonexistent"), &directory.path().join("log"));
        assert_eq!(start.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
