//! Opening directories by descriptor, never through a link.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// How a directory is opened. `NONBLOCK` in case it has become a pipe meanwhile.
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// The source, or a directory outside of it that a followed link leads to.
#[derive(Debug)]
pub(crate) struct Base {
    /// Its descriptor.
    pub(crate) descriptor: OwnedFd,
    /// Its path without links, by which absolute links into it are known.
    pub(crate) real: PathBuf,
}

/// A directory that is open, counted so that deep or wide trees do not use up the descriptors.
#[derive(Debug)]
pub(crate) struct OpenDirectory {
    descriptor: OwnedFd,
    open: Arc<AtomicUsize>,
}

impl OpenDirectory {
    /// Counts `descriptor` in `open` for as long as it lives.
    pub(crate) fn new(descriptor: OwnedFd, open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self { descriptor, open: open.clone() }
    }
}

impl AsFd for OpenDirectory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for OpenDirectory {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Opens the directory `name` in `parent`, not following a link.
pub(crate) fn open_inside(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())
}

/// Opens the directory at the end of `names` from `base`, step by step: the path may be longer
/// than the system takes, and no step may be a link.
pub(crate) fn open_below(base: &Base, names: &[&[u8]]) -> Result<OwnedFd, Errno> {
    let mut at = open_inside(&base.descriptor, b".")?;
    for name in names {
        at = open_inside(&at, name)?;
    }
    Ok(at)
}
