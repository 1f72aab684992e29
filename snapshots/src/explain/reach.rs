//! Paths for the system, also of what lies deeper than a path can be long.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::path_error::{IoContext, PathError};

/// What the system takes as a path, and room for a name behind it.
const LONGEST: usize = 4096 - 257;

/// A path that can be used as long as this lives.
pub(super) struct Reached {
    path: PathBuf,
    /// The directory that `path` goes through by its descriptor.
    _held: Option<OwnedFd>,
}

impl Reached {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Returns the way to `path`, which is relative to `source` and whose directories were judged.
pub(super) fn reach(source: &Path, path: &[u8]) -> Result<Reached, PathError> {
    let direct = source.join(OsStr::from_bytes(path));
    if direct.as_os_str().len() <= LONGEST {
        return Ok(Reached { path: direct, _held: None });
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let (directories, name) = match memchr::memrchr(b'/', path) {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[][..], path),
    };
    let mut held = rustix::fs::open(source, flags, Mode::empty()).context("open", source)?;
    for directory in directories.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        held = rustix::fs::openat(&held, directory, flags, Mode::empty())
            .context("open", OsStr::from_bytes(path))?;
    }
    let through = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
    Ok(Reached { path: through.join(OsStr::from_bytes(name)), _held: Some(held) })
}
