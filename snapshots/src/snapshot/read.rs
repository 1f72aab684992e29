//! Reads one file as it was at one moment.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, SystemTime};

use rustix::fs::{FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::SnapshotError;
use super::objects::Objects;
use crate::digest::Digest;
use crate::index::stamp::Stamp;
use crate::path_error::PathError;
use crate::store::{LARGE_OBJECT_BYTES, StoreError};
use crate::walk::base::OpenDirectory;
use crate::walk::place::{join, shown};

/// A file that changes while it is read is read again, three times.
const ATTEMPTS: u32 = 4;

/// A file to be read.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) directory: &'a OpenDirectory,
    /// The directory's path, for messages.
    pub(super) path: &'a [u8],
    pub(super) name: &'a [u8],
    /// The name is a link that is to be followed.
    pub(super) followed: bool,
}

/// The content of a file at one moment.
pub(super) struct Content {
    pub(super) digest: Digest,
    /// The file's stamp, the same before and after it was read.
    pub(super) stamp: Stamp,
    /// Any change since then shows in the stamp.
    pub(super) settled: bool,
}

/// Reads a file and hands its content to `objects`; nothing when there is no such file any more.
///
/// The content is one that the file had: its stamp was the same before and after, and old enough
/// before for every change since to show, and no write was still running. (Only a writer that maps
/// the file into memory goes unnoticed.)
pub(super) fn read(
    source: Source<'_>,
    objects: &impl Objects,
    buffer: &mut Vec<u8>,
) -> Result<Option<Content>, SnapshotError> {
    let failed = |error| PathError { action: "read", path: source.shown(), source: error };
    for _ in 0..ATTEMPTS {
        let file = match source.open() {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            // Something else has its name now.
            Err(Errno::LOOP | Errno::NXIO) => continue,
            Err(errno) => return Err(failed(errno.into()).into()),
        };
        let Some((before, settled)) = settle(&file).map_err(|errno| failed(errno.into()))? else {
            continue;
        };
        wait_for_writer(&file, &before).map_err(|errno| failed(errno.into()))?;
        let small = before.size < LARGE_OBJECT_BYTES;
        let (large, length) = if small {
            (None, read_small(&file, before.size, buffer).map_err(failed)?)
        } else {
            let (digest, length) = objects.large(&mut &file).map_err(|error| match error {
                StoreError::Stream { source } => failed(source).into(),
                other => SnapshotError::from(other),
            })?;
            (Some(digest), length)
        };
        let after = rustix::fs::fstat(&file).map_err(|errno| failed(errno.into()))?;
        if length == before.size && Stamp::of(&after) == before {
            let digest = match large {
                Some(digest) => digest,
                None => objects.blob(buffer)?,
            };
            return Ok(Some(Content { digest, stamp: before, settled }));
        }
    }
    Err(SnapshotError::ChangedWhileRead { path: source.shown(), attempts: ATTEMPTS })
}

impl Source<'_> {
    fn open(&self) -> Result<File, Errno> {
        // Without NONBLOCK a pipe that has the file's name by now would make this wait for ever.
        let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if !self.followed {
            flags |= OFlags::NOFOLLOW;
        }
        rustix::fs::openat(self.directory, self.name, flags, Mode::empty()).map(File::from)
    }

    fn shown(&self) -> std::path::PathBuf {
        shown(join(self.path, self.name))
    }
}

/// Waits until every further change of the file would show in its stamp, which takes a step of
/// the file system's clock; nothing when it changed meanwhile or is no file any more.
fn settle(file: &File) -> Result<Option<(Stamp, bool)>, Errno> {
    for wait in [true, false] {
        let stat = rustix::fs::fstat(file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let stamp = Stamp::of(&stat);
        match stamp.settles_in(SystemTime::now()) {
            // The clocks differ: there is nothing to wait for, and nothing to rely on later.
            None => return Ok(Some((stamp, false))),
            Some(step) if step.is_zero() => return Ok(Some((stamp, true))),
            Some(step) if wait => std::thread::sleep(step),
            Some(_) => {}
        }
    }
    Ok(None)
}

/// Waits until a write that was running when the stamp was taken is over.
///
/// A write moves the change time when it starts, and may be held up for long before it is done.
/// Looking for a hole needs the lock that writes hold, so it returns after them; where it does
/// not, nothing is lost. Files that rested for long are spared it.
fn wait_for_writer(file: &File, stamp: &Stamp) -> Result<(), Errno> {
    const LONG: Duration = Duration::from_secs(60);
    let rested = SystemTime::now().checked_sub(LONG).is_some_and(|then| stamp.is_settled(then));
    if !rested {
        // Not every file system has holes; an empty file has none either.
        let _hole_or_none = rustix::fs::seek(file, SeekFrom::Hole(0)).ok();
        rustix::fs::seek(file, SeekFrom::Start(0))?;
    }
    Ok(())
}

/// Reads a file that should have `size` bytes into `buffer`; returns how many it has, or more
/// than `size`.
fn read_small(mut file: &File, size: u64, buffer: &mut Vec<u8>) -> std::io::Result<u64> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    buffer.resize(size, 0);
    let mut length = 0;
    while length < size {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length as u64)
}
