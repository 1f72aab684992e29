//! How the script's first process enters its cgroups, between fork and exec.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use nix::sys::eventfd::{EfdFlags, EventFd};

/// The cgroups that a process is to enter; the way into each is open already.
#[derive(Debug)]
pub(crate) struct Join {
    doors: Vec<OwnedFd>,
    /// Holds a digit, of [`BASE`], for each door that stayed shut. Shared with the child.
    shut: EventFd,
}

/// More than one process ever tries a door, so that digits do not run into each other.
const BASE: u64 = 16;

impl Join {
    /// Opens the doors of the cgroups at `paths`, as this process may.
    pub(super) fn open<'a>(paths: impl IntoIterator<Item = &'a Path>) -> io::Result<Self> {
        let open = |path: &Path| OpenOptions::new().write(true).open(path.join("cgroup.procs"));
        let doors = paths.into_iter().map(|path| open(path).map(OwnedFd::from));
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self {
            doors: doors.collect::<io::Result<_>>()?,
            shut: EventFd::from_value_and_flags(0, flags)?,
        })
    }

    /// Moves the calling process in. Makes system calls only: it neither allocates nor panics.
    pub(crate) fn enter(&self) {
        let mut digit = 1_u64;
        for door in &self.doors {
            // `0` is whoever writes it.
            if rustix::io::write(door.as_fd(), b"0").is_err() {
                let _counted = rustix::io::write(self.shut.as_fd(), &digit.to_ne_bytes());
            }
            digit = digit.wrapping_mul(BASE);
        }
    }

    /// Returns which doors, by their number, stayed shut for the process that went.
    pub(super) fn refused(&self) -> Vec<usize> {
        // Nothing to be read is nothing refused.
        let mut digits = self.shut.read().unwrap_or(0);
        let mut refused = Vec::new();
        for door in 0..self.doors.len() {
            if !digits.is_multiple_of(BASE) {
                refused.push(door);
            }
            digits /= BASE;
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn doors_that_stay_shut_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let group = |name: &str| {
            let path = directory.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let [open, full, last] = ["open", "full", "last"].map(group);
        for path in [&open, &last] {
            fs::write(path.join("cgroup.procs"), "").unwrap();
        }
        // Whatever is written there is refused.
        std::os::unix::fs::symlink("/dev/full", full.join("cgroup.procs")).unwrap();

        let join = Join::open([open.as_path(), &full, &last]).unwrap();
        assert!(join.refused().is_empty(), "nobody went in yet");
        join.enter();

        assert_eq!(join.refused(), [1]);
        assert_eq!(fs::read(open.join("cgroup.procs")).unwrap(), b"0");
        assert_eq!(fs::read(last.join("cgroup.procs")).unwrap(), b"0");
        assert!(Join::open([directory.path()]).is_err(), "there is no such file");
    }
}
