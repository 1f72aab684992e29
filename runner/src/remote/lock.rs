//! Locks on files of a run directory, between threads and processes.
//!
//! Open file description locks of fcntl(2): one can be asked after without being taken, so that
//! whoever looks is never in the way of whoever works.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use snapshots::path_error::{IoContext as _, PathError};

/// A lock that is held until it is dropped, or the process ends.
#[derive(Debug)]
pub(super) struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock at `path`, waiting for whoever has it.
    pub(super) fn take(path: &Path) -> Result<Self, PathError> {
        let file = open(path)?;
        loop {
            match fcntl(&file, FcntlArg::F_OFD_SETLKW(&alone())) {
                Ok(_) => return Ok(Self { _file: file }),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("lock", path),
            }
        }
    }

    /// Takes the lock at `path`; `None` when somebody has it.
    pub(super) fn try_take(path: &Path) -> Result<Option<Self>, PathError> {
        let file = open(path)?;
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&alone())) {
            Ok(_) => Ok(Some(Self { _file: file })),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(error) => Err(error).context("lock", path),
        }
    }

    /// Says whether somebody has the lock at `path`.
    pub(super) fn is_held(path: &Path) -> Result<bool, PathError> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            other => other.context("open", path)?,
        };
        let mut lock = alone();
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).context("look at the lock of", path)?;
        Ok(libc::c_int::from(lock.l_type) != libc::F_UNLCK)
    }
}

fn open(path: &Path) -> Result<File, PathError> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    file.context("open", path)
}

/// A lock on the whole file, that goes with no other.
#[expect(clippy::cast_possible_truncation, reason = "the constants are made for these fields")]
fn alone() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_by_one_and_looking_takes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");

        assert!(!FileLock::is_held(&path).unwrap());
        assert!(!path.exists());
        let held = FileLock::try_take(&path).unwrap().unwrap();
        assert!(FileLock::is_held(&path).unwrap());
        assert!(FileLock::try_take(&path).unwrap().is_none());
        drop(held);
        assert!(!FileLock::is_held(&path).unwrap());
        let _again = FileLock::take(&path).unwrap();
    }
}
