//! The directory that a snapshot is laid out in: made, filled, and emptied again on failure.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, chmodat, mkdirat, statat, symlinkat, unlinkat};

use super::MaterializeError;
use super::directories::Directories;
use super::plan::Plan;
use crate::path_error::IoContext;

const DIRECTORY_MODE: u32 = 0o755;

/// The destination, and how much of it was made.
pub(super) struct Destination {
    path: PathBuf,
    root: OwnedFd,
    /// Whether the destination itself was made here.
    own: bool,
    directories: AtomicUsize,
    links: AtomicUsize,
}

impl Destination {
    /// Makes the destination, or takes an empty directory.
    pub(super) fn prepare(path: &Path) -> Result<Self, MaterializeError> {
        let own = match fs::create_dir(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => Err(error).context("create", path)?,
        };
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root: OwnedFd = File::options()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)
            .context("open", path)?
            .into();
        if !own && fs::read_dir(path).context("list", path)?.next().is_some() {
            return Err(MaterializeError::NotEmpty { path: path.to_owned() });
        }
        Ok(Self {
            path: path.to_owned(),
            root,
            own,
            directories: AtomicUsize::new(1),
            links: AtomicUsize::new(0),
        })
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    pub(super) fn make_directories(&self, plan: &Plan) -> Result<(), MaterializeError> {
        let mut directories = Directories::new(self.root(), plan);
        for (at, directory) in plan.directories.iter().enumerate().skip(1) {
            let name = directory.name.as_slice();
            let parent = directories.get(directory.parent)?;
            let wanted = Mode::from_raw_mode(DIRECTORY_MODE);
            let path = || self.path.join(plan.path(directory.parent, name));
            mkdirat(parent, name, wanted).context("create", path())?;
            self.directories.store(at + 1, Ordering::Relaxed);
            let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).context("read", path())?;
            if stat.st_mode & 0o777 != DIRECTORY_MODE {
                chmodat(parent, name, wanted, AtFlags::empty())
                    .context("set the mode of", path())?;
            }
        }
        Ok(())
    }

    pub(super) fn make_links(&self, plan: &Plan) -> Result<(), MaterializeError> {
        let mut directories = Directories::new(self.root(), plan);
        for (at, link) in plan.links.iter().enumerate() {
            symlinkat(
                link.target.as_slice(),
                directories.get(link.directory)?,
                link.name.as_slice(),
            )
            .context("create", self.path.join(plan.path(link.directory, &link.name)))?;
            self.links.store(at + 1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Removes what was made, as far as that can be done.
    pub(super) fn remove(self, plan: &Plan) {
        let mut directories = Directories::new(self.root(), plan);
        let links = &plan.links[..self.links.load(Ordering::Relaxed)];
        let files = plan.files.iter().filter(|file| file.was_made());
        let names = links.iter().map(|link| (link.directory, &link.name));
        for (directory, name) in names.chain(files.map(|file| (file.directory, &file.name))) {
            if let Ok(parent) = directories.get(directory) {
                let _left = unlinkat(parent, name.as_slice(), AtFlags::empty());
            }
        }
        for directory in plan.directories[1..self.directories.load(Ordering::Relaxed)].iter().rev()
        {
            if let Ok(parent) = directories.get(directory.parent) {
                let _left = unlinkat(parent, directory.name.as_slice(), AtFlags::REMOVEDIR);
            }
        }
        if self.own
            && let Err(error) = fs::remove_dir(&self.path)
        {
            tracing::warn!(path = ?self.path, %error, "Could not remove what was laid out.");
        }
    }
}
