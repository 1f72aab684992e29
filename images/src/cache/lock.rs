//! Locks on environments, between threads and processes: `flock` on files that may be removed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use snapshots::path_error::{IoContext, PathError};

/// A lock file that is locked, until it is dropped.
#[derive(Debug)]
pub(super) struct Locked {
    _file: File,
}

/// Locks `path` alone if nobody is in the way; creates it.
pub(super) fn try_lock(path: &Path) -> Result<Option<Locked>, PathError> {
    loop {
        let file = open(path, true).context("open", path)?;
        match file.try_lock() {
            Ok(()) if is_at(&file, path) => return Ok(Some(Locked { _file: file })),
            // Whoever held it has removed the file: the lock is on nothing.
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error).context("lock", path),
        }
    }
}

/// Locks `path` with others, after waiting for whoever wants it alone; `None` if there is no such
/// file.
pub(super) fn lock_shared(path: &Path) -> Result<Option<Locked>, PathError> {
    loop {
        let file = match open(path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.context("open", path)?,
        };
        file.lock_shared().context("lock", path)?;
        if is_at(&file, path) {
            return Ok(Some(Locked { _file: file }));
        }
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    let same = || -> io::Result<bool> {
        let (held, named) = (file.metadata()?, path.metadata()?);
        Ok((held.dev(), held.ino()) == (named.dev(), named.ino()))
    };
    same().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_locks_keep_exclusive_ones_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let exclusive = || try_lock(&path).unwrap();

        assert!(lock_shared(&path).unwrap().is_none(), "there is no file yet");
        drop(exclusive());
        let one = lock_shared(&path).unwrap().unwrap();
        let two = lock_shared(&path).unwrap().unwrap();
        assert!(exclusive().is_none());
        drop(one);
        assert!(exclusive().is_none());
        drop(two);
        assert!(exclusive().is_some());
    }

    #[test]
    fn a_lock_on_a_removed_file_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = try_lock(&path).unwrap().unwrap();

        std::fs::remove_file(&path).unwrap();
        let again = try_lock(&path).unwrap();

        assert!(again.is_some());
        assert!(!is_at(&held._file, &path));
    }
}
