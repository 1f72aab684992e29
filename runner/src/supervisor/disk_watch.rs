//! Watches what the files of a run take of the disk, in a thread of its own: no file system tells
//! of its own accord.
//!
//! It adds up what is allocated, without following links and each file with several names once.
//! What the script made unreadable for its own user does not count.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, openat, statat};

use crate::run_directory::RunDirectory;

/// How long to rest after a look, at least, and as many times as long as the look took: it costs a
/// twentieth of a core at most.
const REST: Duration = Duration::from_secs(1);
const REST_PER_LOOK: u32 = 20;

/// What `st_blocks` counts, whatever the file system's blocks are.
const BLOCK_BYTES: u64 = 512;

/// Looks again and again, until it is dropped or there was too much.
#[derive(Debug)]
pub(crate) struct DiskWatch {
    found: Arc<Found>,
    /// Dropped, it ends the thread.
    _end: mpsc::Sender<()>,
}

#[derive(Debug)]
struct Found {
    wake: EventFd,
    /// More than the limit, once it is more.
    bytes: AtomicU64,
}

impl DiskWatch {
    /// Begins to watch what `run` takes, which may be `limit_bytes`.
    pub(crate) fn begin(run: &RunDirectory, limit_bytes: u64) -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_value_and_flags(0, flags)?;
        let found = Arc::new(Found { wake, bytes: AtomicU64::new(0) });
        let directories = [run.work(), run.path().join("user_logs"), run.temporary()];
        let (sender, end) = mpsc::channel();
        let to_tell = Arc::clone(&found);
        let watching = move || watch(&directories, limit_bytes, &to_tell, &end);
        thread::Builder::new().name("disk".to_owned()).spawn(watching)?;
        Ok(Self { found, _end: sender })
    }

    /// Becomes readable when there is too much.
    pub(crate) fn wakes(&self) -> BorrowedFd<'_> {
        self.found.wake.as_fd()
    }

    /// Returns what the files take, once that is more than they may.
    pub(crate) fn excess(&self) -> Option<u64> {
        Some(self.found.bytes.load(Ordering::Acquire)).filter(|bytes| *bytes > 0)
    }
}

fn watch(directories: &[PathBuf], limit_bytes: u64, found: &Found, end: &mpsc::Receiver<()>) {
    loop {
        let begun = Instant::now();
        let bytes = taken(directories);
        if bytes > limit_bytes {
            found.bytes.store(bytes, Ordering::Release);
            let _already_awake = found.wake.write(1);
            return;
        }
        let rest = REST.max(begun.elapsed() * REST_PER_LOOK);
        if end.recv_timeout(rest) != Err(mpsc::RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// Returns how many bytes all below `directories` takes. What goes meanwhile does not count.
fn taken(directories: &[PathBuf]) -> u64 {
    let mut taken = Taken::default();
    directories.iter().for_each(|directory| taken.add_tree(directory));
    taken.bytes
}

#[derive(Default)]
struct Taken {
    bytes: u64,
    /// Files with several names.
    seen: HashSet<(u64, u64)>,
}

impl Taken {
    fn add_tree(&mut self, root: &Path) {
        let mut open: Vec<Dir> = directory(CWD, root).into_iter().collect();
        while let Some(innermost) = open.last_mut() {
            let Some(Ok(entry)) = innermost.read() else {
                open.pop();
                continue;
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(fd) = innermost.fd() else { continue };
            let Ok(stat) = statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let inner = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => directory(fd, name),
                _ => None,
            };
            self.add(&stat);
            open.extend(inner);
        }
    }

    fn add(&mut self, stat: &Stat) {
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_directory || stat.st_nlink == 1 || self.seen.insert((stat.st_dev, stat.st_ino)) {
            self.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK_BYTES;
        }
    }
}

/// Opens a directory, and no link to one that took its place.
fn directory(parent: BorrowedFd<'_>, name: impl rustix::path::Arg) -> Option<Dir> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd: OwnedFd = openat(parent, name, flags, Mode::empty()).ok()?;
    Dir::new(fd).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_allocated_counts_once_and_links_lead_nowhere() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("large"), vec![1; 1 << 20]).unwrap();
        let inside = tempfile::tempdir().unwrap();
        let root = inside.path().join("work");
        fs::create_dir_all(root.join("a/b")).unwrap();
        let empty = taken(std::slice::from_ref(&root));
        fs::write(root.join("a/b/file"), vec![1; 100 << 10]).unwrap();
        fs::hard_link(root.join("a/b/file"), root.join("again")).unwrap();
        symlink(outside.path(), root.join("directory")).unwrap();
        symlink(outside.path().join("large"), root.join("file")).unwrap();
        fs::File::create(root.join("sparse")).unwrap().set_len(1 << 30).unwrap();

        let bytes = taken(&[root, inside.path().join("not there")]);

        let grown = bytes - empty;
        assert!((100 << 10..130 << 10).contains(&grown), "{grown}");
    }

    #[test]
    fn too_much_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(directory.path());
        fs::create_dir_all(run.work()).unwrap();
        fs::write(run.work().join("file"), vec![1; 1 << 20]).unwrap();
        let watch = DiskWatch::begin(&run, 1 << 19).unwrap();

        let mut fds =
            [rustix::event::PollFd::from_borrowed_fd(watch.wakes(), rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, None).unwrap();

        assert!(watch.excess().unwrap() >= 1 << 20);
    }
}
