//! Files beneath a directory at home, whose names another machine said: no link is followed.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory, and the name of a file in it.
pub(super) struct Place {
    parent: OwnedFd,
    name: OsString,
}

/// Says whether `path` is one that a run can leave a file at: `outputs/…` or `logs/…`, and nowhere
/// else.
pub(super) fn is_output(path: &Path) -> bool {
    let mut names = path.as_os_str().as_bytes().split(|byte| *byte == b'/');
    let first = names.next();
    let sound =
        |name: &[u8]| !name.is_empty() && name != b"." && name != b".." && !name.contains(&0);
    let mut rest = names.peekable();
    matches!(first, Some(b"outputs" | b"logs")) && rest.peek().is_some() && rest.all(sound)
}

impl Place {
    /// Finds the place of `path`, which [`is_output`], beneath `work`; makes the directories on
    /// the way. What else stands in their way goes: the run has a directory there.
    ///
    /// # Errors
    ///
    /// What the system answered.
    pub(super) fn of(work: &Path, path: &Path) -> io::Result<Self> {
        let mut parent = rustix::fs::openat(CWD, work, DIRECTORY, Mode::empty())?;
        let mut names =
            path.as_os_str().as_bytes().split(|byte| *byte == b'/').map(OsStr::from_bytes);
        let mut name = names.next().unwrap_or_default();
        for next in names {
            parent = descend(&parent, name)?;
            name = next;
        }
        Ok(Self { parent, name: name.to_owned() })
    }

    /// Opens the plain file that is there, if there is one.
    ///
    /// # Errors
    ///
    /// What the system answered.
    pub(super) fn open(&self) -> io::Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.parent, &self.name, flags, Mode::empty()) {
            Ok(open) => {
                let file = File::from(open);
                Ok(file.metadata()?.is_file().then_some(file))
            }
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts the file at `from` there, in place of whatever is.
    ///
    /// # Errors
    ///
    /// What the system answered.
    pub(super) fn put(&self, from: &Path) -> io::Result<()> {
        let put = || rustix::fs::renameat(CWD, from, &self.parent, &self.name);
        match put() {
            Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
                remove(&self.parent, &self.name)?;
                Ok(put()?)
            }
            put => Ok(put?),
        }
    }
}

fn descend(parent: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let open = || rustix::fs::openat(parent, name, DIRECTORY, Mode::empty());
    match open() {
        Ok(open) => return Ok(open),
        Err(Errno::NOENT) => {}
        Err(Errno::NOTDIR | Errno::LOOP) => {
            rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
        }
        Err(error) => return Err(error.into()),
    }
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => Ok(open()?),
        Err(error) => Err(error.into()),
    }
}

/// Removes what is in `top`, a directory in `work`, and not among `kept`, paths below `work`; and
/// directories that are empty then. Says whether something went.
///
/// # Errors
///
/// What the system answered.
pub(super) fn keep_only(work: &Path, top: &str, kept: &HashSet<PathBuf>) -> io::Result<bool> {
    let work = rustix::fs::openat(CWD, work, DIRECTORY, Mode::empty())?;
    match rustix::fs::openat(&work, top, DIRECTORY, Mode::empty()) {
        Ok(directory) => keep_only_in(&directory, Path::new(top), kept),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn keep_only_in(directory: &OwnedFd, path: &Path, kept: &HashSet<PathBuf>) -> io::Result<bool> {
    let mut went = false;
    for name in names(directory)? {
        let below = path.join(&name);
        match rustix::fs::openat(directory, &name, DIRECTORY, Mode::empty()) {
            Ok(inner) => {
                went |= keep_only_in(&inner, &below, kept)?;
                match rustix::fs::unlinkat(directory, &name, AtFlags::REMOVEDIR) {
                    Ok(()) => went = true,
                    Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(Errno::NOTDIR | Errno::LOOP) if kept.contains(&below) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => {
                rustix::fs::unlinkat(directory, &name, AtFlags::empty())?;
                went = true;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(went)
}

/// Lists what is in a directory.
fn names(directory: &OwnedFd) -> io::Result<Vec<OsString>> {
    let entries = Dir::read_from(directory.as_fd())?
        .map(|entry| Ok(OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned()));
    entries.filter(|name| !matches!(name, Ok(name) if name == "." || name == "..")).collect()
}

/// Removes what is called `name`, with everything in it.
fn remove(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        removed => return Ok(removed?),
    }
    let directory = rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?;
    for inside in names(&directory)? {
        remove(&directory, &inside)?;
    }
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_outputs_and_logs_have_files() {
        for path in ["outputs/a", "logs/a/b", "outputs/...", "outputs/a b\n"] {
            assert!(is_output(Path::new(path)), "{path}");
        }
        assert!(is_output(Path::new(OsStr::from_bytes(b"outputs/\xff\xfe"))));
        for path in [
            "outputs",
            "logs",
            "",
            "/",
            "/outputs/a",
            "work/a",
            "outputs/",
            "outputs//a",
            "../a",
            "outputs/../a",
            "outputs/./a",
            "outputs/a/..",
            "outputs/a\0b",
            "launch.json",
        ] {
            assert!(!is_output(Path::new(path)), "{path}");
        }
    }

    fn put(work: &Path, path: &str, content: &str) -> io::Result<()> {
        let from = work.join(".part");
        fs::write(&from, content).unwrap();
        Place::of(work, Path::new(path))?.put(&from)
    }

    #[test]
    fn what_is_not_kept_goes_and_no_link_is_followed() {
        let base = tempfile::tempdir().unwrap();
        let (work, elsewhere) = (base.path().join("work"), base.path().join("elsewhere"));
        fs::create_dir_all(work.join("outputs/empty")).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("file"), "kept").unwrap();
        for path in ["outputs/a", "outputs/deep/b", "outputs/gone/c", "logs/d"] {
            put(&work, path, "").unwrap();
        }
        symlink(&elsewhere, work.join("outputs/way")).unwrap();
        let kept = HashSet::from([PathBuf::from("outputs/a"), PathBuf::from("outputs/deep/b")]);

        assert!(keep_only(&work, "outputs", &kept).unwrap());

        let left = |path: &str| {
            let mut left: Vec<_> =
                fs::read_dir(work.join(path)).unwrap().map(|it| it.unwrap().file_name()).collect();
            left.sort();
            left
        };
        assert_eq!(left("outputs"), ["a", "deep"]);
        assert_eq!((left("outputs/deep"), left("logs")), (vec!["b".into()], vec!["d".into()]));
        assert_eq!(fs::read(elsewhere.join("file")).unwrap(), b"kept");
        assert!(!keep_only(&work, "outputs", &kept).unwrap());
        assert!(!keep_only(&work, "none", &kept).unwrap());
        symlink(&elsewhere, work.join("link")).unwrap();
        assert!(!keep_only(&work, "link", &kept).unwrap());
    }

    #[test]
    fn no_link_leads_out() {
        let base = tempfile::tempdir().unwrap();
        let (work, elsewhere) = (base.path().join("work"), base.path().join("elsewhere"));
        fs::create_dir_all(work.join("outputs")).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("file"), "kept").unwrap();
        symlink(&elsewhere, work.join("outputs/way")).unwrap();
        symlink(elsewhere.join("file"), work.join("outputs/file")).unwrap();

        let place = Place::of(&work, Path::new("outputs/file")).unwrap();
        assert!(place.open().unwrap().is_none());
        put(&work, "outputs/file", "new").unwrap();
        put(&work, "outputs/way/file", "new").unwrap();

        assert_eq!(fs::read(elsewhere.join("file")).unwrap(), b"kept");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
        for path in ["outputs/file", "outputs/way/file"] {
            assert_eq!(fs::read(work.join(path)).unwrap(), b"new");
            assert!(work.join(path).symlink_metadata().unwrap().is_file());
        }
    }

    #[test]
    fn a_file_takes_the_place_of_a_directory_and_the_other_way_round() {
        let base = tempfile::tempdir().unwrap();
        put(base.path(), "outputs/a/b/c", "1").unwrap();
        put(base.path(), "outputs/a", "2").unwrap();
        assert_eq!(fs::read(base.path().join("outputs/a")).unwrap(), b"2");
        put(base.path(), "outputs/a/b", "3").unwrap();
        assert_eq!(fs::read(base.path().join("outputs/a/b")).unwrap(), b"3");
    }

    #[test]
    fn a_fifo_is_no_file_and_nobody_waits_for_it() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("logs")).unwrap();
        nix::unistd::mkfifo(&base.path().join("logs/f"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let place = Place::of(base.path(), Path::new("logs/f")).unwrap();
        assert!(place.open().unwrap().is_none());
    }
}
