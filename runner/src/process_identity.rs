//! Which process this is, across restarts: boot id, pid and start time together.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};
use snapshots::path_error::{IoContext as _, PathError};

/// All that must be written down to find a process again. A pid alone is not enough: pids are
/// used again, and start again with every boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessIdentity {
    /// The kernel's name for the time since it was booted.
    pub boot_id: String,
    /// The process id.
    pub pid: i32,
    /// When the process was started, in clock ticks since the boot.
    pub start_time: u64,
}

impl ProcessIdentity {
    /// Identifies the running process `pid`; `None` when there is none, or it has ended and
    /// only waits to be reaped.
    ///
    /// # Errors
    ///
    /// When `/proc` cannot be read.
    pub fn of(pid: i32) -> Result<Option<Self>, PathError> {
        match ProcessStat::read(pid)? {
            Some(stat) if !stat.has_ended() => {
                Ok(Some(Self { boot_id: boot_id()?, pid, start_time: stat.start_time }))
            }
            _ => Ok(None),
        }
    }

    /// Identifies the calling process.
    ///
    /// # Errors
    ///
    /// When `/proc` cannot be read.
    pub fn of_this_process() -> Result<Self, PathError> {
        let pid = nix::unistd::getpid().as_raw();
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        Self::of(pid)?.ok_or_else(gone).context("find the calling process in", "/proc")
    }

    /// Says whether this very process still runs. A zombie does not.
    ///
    /// # Errors
    ///
    /// When `/proc` cannot be read.
    pub fn is_alive(&self) -> Result<bool, PathError> {
        Ok(Self::of(self.pid)?.as_ref() == Some(self))
    }
}

/// Returns the id of this boot of the machine.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub fn boot_id() -> Result<String, PathError> {
    let path = "/proc/sys/kernel/random/boot_id";
    Ok(fs::read_to_string(path).context("read", path)?.trim().to_owned())
}

/// What `/proc/PID/stat` says, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessStat {
    pub(crate) pid: i32,
    pub(crate) state: u8,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    pub(crate) start_time: u64,
}

impl ProcessStat {
    /// Reads it; `None` when there is no such process.
    pub(crate) fn read(pid: i32) -> Result<Option<Self>, PathError> {
        let path = format!("/proc/{pid}/stat");
        match fs::read(&path) {
            Ok(text) => Ok(Self::parse(&text)),
            // ESRCH: it ended between open and read.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    || error.raw_os_error() == Some(nix::libc::ESRCH) =>
            {
                Ok(None)
            }
            Err(error) => Err(error).context("read", path),
        }
    }

    /// Says whether the process has ended and only waits to be reaped.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Reads the one line. The program's name may hold anything, so it ends at the *last* `)`.
    fn parse(text: &[u8]) -> Option<Self> {
        let pid_end = text.iter().position(|&byte| byte == b' ')?;
        let name_end = text.iter().rposition(|&byte| byte == b')')?;
        let pid = std::str::from_utf8(&text[..pid_end]).ok()?.parse().ok()?;
        let rest = std::str::from_utf8(text.get(name_end + 2..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        // Field 22 of proc_pid_stat(5); the session is field 6.
        let start_time = fields.nth(15)?.parse().ok()?;
        Some(Self { pid, state, parent, group, session, start_time })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_itself_and_no_other_with_its_number() {
        let me = ProcessIdentity::of_this_process().unwrap();
        let earlier = ProcessIdentity { start_time: me.start_time - 1, ..me.clone() };
        let other_boot = ProcessIdentity { boot_id: "x".to_owned(), ..me.clone() };

        assert!(me.is_alive().unwrap());
        assert!(!earlier.is_alive().unwrap());
        assert!(!other_boot.is_alive().unwrap());
    }

    #[test]
    fn a_process_that_waits_to_be_reaped_is_not_alive() {
        let mut child = Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let identity = ProcessIdentity::of(child.id().cast_signed()).unwrap().unwrap();
        assert!(identity.is_alive().unwrap());

        drop(child.stdin.take());
        while identity.is_alive().unwrap() {
            std::thread::yield_now();
        }

        assert!(fs::exists(format!("/proc/{}", child.id())).unwrap(), "it was reaped already");
        child.wait().unwrap();
        assert!(!identity.is_alive().unwrap());
    }

    #[test]
    fn a_program_may_be_named_as_it_likes() {
        let line = b"42 (a) R 1 (b) S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 100 5\n";

        let stat = ProcessStat::parse(line).unwrap();

        let expected =
            ProcessStat { pid: 42, state: b'S', parent: 7, group: 8, session: 9, start_time: 777 };
        assert_eq!(stat, expected);
    }
}
