//! Enters directories, one by one and from several threads.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, StatFs};
use rustix::io::Errno;

use super::base::{self, Base, OpenDirectory};
use super::place::{Place, join, shown};
use crate::digest::{Digest, Hasher};
use crate::ignore_rules::IgnoreRules;
use crate::index::stamp::Stamp;
use crate::path_error::{IoContext, PathError};
use crate::snapshot::{SnapshotError, SnapshotOptions, Warning};

/// What all threads that walk a source share.
pub(crate) struct Walker {
    pub(super) follow_links: bool,
    /// Device and inode of the directories that are always left out.
    state: Vec<(u64, u64)>,
    /// How many directories are open, and how many may be before none is held open for those
    /// inside it.
    open: Arc<AtomicUsize>,
    most_open: usize,
    ignore_file: &'static str,
    warnings: Mutex<Vec<Warning>>,
}

/// The ignore rules that hold in a directory.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(super) rules: IgnoreRules,
    /// The same for the same rules: what was listed by them need not be decided again.
    pub(crate) fingerprint: Digest,
}

/// A directory that was found and is to be entered.
pub(crate) struct Pending {
    /// The directory it is in; held open if few enough are.
    pub(super) parent: Arc<Place>,
    pub(super) opened: Option<Arc<OpenDirectory>>,
    pub(super) name: Vec<u8>,
    /// The rules of the directory it is in.
    pub(super) rules: Rules,
    /// It is a link to a directory elsewhere.
    pub(super) followed: bool,
}

/// A directory that is open.
pub(crate) struct Entered {
    pub(crate) place: Arc<Place>,
    pub(crate) opened: Arc<OpenDirectory>,
    /// As it was before its names were read.
    pub(crate) stamp: Stamp,
    /// Names that come or go after `stamp` was taken surely change it, if the file system does
    /// that at all.
    pub(super) settled: bool,
    /// From the source, without slashes at its ends.
    pub(crate) path: Vec<u8>,
    /// The rules of the directory it is in; for the source its own.
    pub(super) rules: Rules,
    pub(super) is_source: bool,
}

impl Entered {
    /// Whether it is ignored, and only stays for what it holds.
    pub(crate) fn is_ignored(&self) -> bool {
        let rules = &self.rules.rules;
        !rules.nest() && !self.is_source && rules.decide(&self.path, true).excluded
    }
}

impl Walker {
    /// Opens `source`.
    ///
    /// # Errors
    ///
    /// It is no directory that can be read, or a state directory.
    pub(crate) fn start(
        source: &Path,
        options: &SnapshotOptions,
    ) -> Result<(Self, Entered), SnapshotError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = || rustix::fs::open(source, flags, Mode::empty()).context("open", source);
        let real = source.canonicalize().context("open", source)?;
        let base = Arc::new(Base { descriptor: open()?, real });
        let rules = match &options.dockerfile {
            Some(dockerfile) => IgnoreRules::for_build_context(source, dockerfile)?,
            None => IgnoreRules::for_source(source)?,
        };
        let notes = rules.notes().iter().cloned().map(Warning::Ignore).collect();
        let walker = Self {
            follow_links: options.follow_links,
            state: options.state_directories.iter().filter_map(|path| identity(path)).collect(),
            open: Arc::default(),
            most_open: most_open(),
            ignore_file: rules.file_name(),
            warnings: Mutex::new(notes),
        };
        let rules = walker.root_rules(rules);
        let descriptor = open()?;
        let (stamp, settled) = stamp(&descriptor).context("read", source)?;
        let identity = (stamp.device, stamp.inode);
        if walker.state.contains(&identity) {
            return Err(SnapshotError::StateDirectory { path: source.to_owned() });
        }
        let entered = Entered {
            place: Arc::new(Place::source(base, identity)),
            opened: Arc::new(OpenDirectory::new(descriptor, &walker.open)),
            stamp,
            settled,
            path: Vec::new(),
            rules,
            is_source: true,
        };
        Ok((walker, entered))
    }

    /// Whatever else decides on what is listed is part of the fingerprint too.
    fn root_rules(&self, rules: IgnoreRules) -> Rules {
        let mut hasher = Hasher::new();
        hasher.update(rules.fingerprint().as_bytes());
        hasher.update(&[u8::from(self.follow_links)]);
        for (device, inode) in &self.state {
            hasher.update(&device.to_le_bytes());
            hasher.update(&inode.to_le_bytes());
        }
        Rules { rules, fingerprint: hasher.finish() }
    }

    /// Opens a directory; nothing when it is gone or always left out.
    pub(crate) fn enter(&self, pending: Pending) -> Result<Option<Entered>, SnapshotError> {
        let mut path = Vec::new();
        pending.parent.path(&mut path);
        let path = join(&path, &pending.name);
        let failed = |errno: Errno| read_error(errno, "open", &path);
        let descriptor = match open_pending(&pending) {
            Ok(descriptor) => descriptor,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                return Err(SnapshotError::ChangedWhileRead { path: shown(path), attempts: 1 });
            }
            Err(errno) => return Err(failed(errno)),
        };
        let (stamp, settled) = stamp(&descriptor).map_err(failed)?;
        let identity = (stamp.device, stamp.inode);
        if self.state.contains(&identity) {
            return Ok(None);
        }
        let base = if pending.followed {
            if pending.parent.is_within(identity) {
                return Err(SnapshotError::LinkLoop { path: shown(path) });
            }
            Some(Arc::new(followed_base(&descriptor).map_err(failed)?))
        } else {
            None
        };
        let Pending { parent, name, rules, .. } = pending;
        Ok(Some(Entered {
            place: Arc::new(Place::inside(&parent, name, identity, base)),
            opened: Arc::new(OpenDirectory::new(descriptor, &self.open)),
            stamp,
            settled,
            path,
            rules,
            is_source: false,
        }))
    }

    /// Returns the directory `name` in `entered` as one to be entered.
    pub(crate) fn pending(
        &self,
        entered: &Entered,
        rules: &Rules,
        name: &[u8],
        followed: bool,
    ) -> Pending {
        let room = followed || self.open.load(Ordering::Relaxed) < self.most_open;
        Pending {
            parent: entered.place.clone(),
            opened: room.then(|| entered.opened.clone()),
            name: name.to_vec(),
            rules: rules.clone(),
            followed,
        }
    }

    /// Adds a warning.
    pub(crate) fn warn(&self, warning: Warning) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }

    /// Returns the name of the ignore files.
    pub(crate) fn ignore_file(&self) -> &'static str {
        self.ignore_file
    }

    /// Returns all warnings, in the same order each time.
    pub(crate) fn into_warnings(self) -> Vec<Warning> {
        let mut warnings = self.warnings.into_inner().unwrap_or_else(PoisonError::into_inner);
        warnings.sort_by_cached_key(ToString::to_string);
        warnings
    }
}

/// Returns an error that names a path inside the source.
pub(crate) fn read_error(errno: Errno, action: &'static str, path: &[u8]) -> SnapshotError {
    PathError { action, path: shown(path.to_vec()), source: errno.into() }.into()
}

fn open_pending(pending: &Pending) -> Result<OwnedFd, Errno> {
    match &pending.opened {
        Some(parent) if pending.followed => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            rustix::fs::openat(parent, &*pending.name, flags, Mode::empty())
        }
        Some(parent) => base::open_inside(parent, &pending.name),
        None => {
            let mut names = pending.parent.names_below_base();
            names.push(&pending.name);
            base::open_below(&pending.parent.base, &names)
        }
    }
}

/// A followed link's directory is the top for the links in it.
fn followed_base(descriptor: &OwnedFd) -> Result<Base, Errno> {
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStringExt;

    let link = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let real = rustix::fs::readlink(link, Vec::new())?;
    let real = std::ffi::OsString::from_vec(real.into_bytes()).into();
    let descriptor = base::open_inside(descriptor, b".")?;
    Ok(Base { descriptor, real })
}

fn stamp(directory: impl AsFd) -> Result<(Stamp, bool), Errno> {
    let now = SystemTime::now();
    let stamp = Stamp::of(&rustix::fs::fstat(&directory)?);
    Ok((stamp, stamp.is_settled(now)))
}

/// Returns whether adding or removing a name surely changes the directory's times.
///
/// Local file systems do that; some that speak to a server or run in user space do not.
pub(super) fn keeps_times(system: &StatFs) -> bool {
    /// From statfs(2).
    const LOCAL: [u32; 7] = [
        0xef53,      // ext2, ext3, ext4
        0x5846_5342, // xfs
        0x9123_683e, // btrfs
        0x0102_1994, // tmpfs
        0x794c_7630, // overlayfs
        0xf2f5_2010, // f2fs
        0x2fc1_2fc1, // zfs
    ];
    u32::try_from(system.f_type).is_ok_and(|kind| LOCAL.contains(&kind))
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::stat(path).ok()?;
    let stamp = Stamp::of(&stat);
    Some((stamp.device, stamp.inode))
}

/// A quarter of what the process may open, and never many.
fn most_open() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    usize::try_from(limit.unwrap_or(1024) / 4).unwrap_or(256).min(256)
}
