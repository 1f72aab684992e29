//! What a run is shown with `--mount`, opened once: what was looked at is what is shown.
//!
//! Whoever may change a part of a path can lead it elsewhere between a look and a mount, and
//! bubblewrap mounts by path whatever it is given: of a descriptor it asks the path. So the
//! supervisor says which files and directories it allowed, by their numbers, and the stage within
//! starts nothing where another is found. While the supervisor has them open no other gets those
//! numbers.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::plan::{Rooms, Seen};
use super::policy::{Mount, SandboxPolicy};
use crate::container::ContainerPolicy;

/// Why something is not shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MountRefused {
    /// It is not there, or behind a directory that the agent's user may not enter.
    #[error("--mount {mount} cannot be opened")]
    Closed { mount: Mount, source: io::Error },
    /// It is a link to what no run sees, made since it was checked or by a run.
    #[error("--mount {} leads to {}, which no run is shown: {why}", link.display(), real.display())]
    Guarded { link: PathBuf, real: PathBuf, why: String },
}

/// What the mounts of a run were found to be.
#[derive(Debug, Default)]
pub(crate) struct OpenedMounts(BTreeMap<PathBuf, Opened>);

#[derive(Debug)]
struct Opened {
    file: File,
    real: PathBuf,
}

impl OpenedMounts {
    /// Opens what `policy` shows; `state` is where the agent keeps its own.
    ///
    /// # Errors
    ///
    /// The first that is not there, or leads where it may not.
    pub(crate) fn open(policy: &SandboxPolicy, state: &Path) -> Result<Self, MountRefused> {
        let state = fs::canonicalize(state).unwrap_or_else(|_| state.to_owned());
        let bounds = policy.within.as_ref().map(|listed| bounds(listed));
        let mut all = BTreeMap::new();
        for mount in &policy.mounts {
            let link = &mount.source;
            // What is shown twice is the same twice: one of them may be to be changed.
            let opened = match all.remove(link) {
                Some(opened) => opened,
                None => Opened::new(link)
                    .map_err(|source| MountRefused::Closed { mount: mount.clone(), source })?,
            };
            if let Some(why) = refusal(mount, &opened.real, &state, bounds.as_deref()) {
                let (link, real) = (link.clone(), opened.real);
                return Err(MountRefused::Guarded { link, real, why });
            }
            all.insert(link.clone(), opened);
        }
        Ok(Self(all))
    }

    /// Leads `rooms` to what was opened, and says what is to be found in them.
    ///
    /// # Errors
    ///
    /// It cannot be looked at.
    pub(crate) fn in_rooms(&self, rooms: &mut Rooms) -> io::Result<Vec<Allowed>> {
        let mut allowed = Vec::new();
        for view in &mut rooms.views {
            let (Seen::Shown(source) | Seen::Given(source)) = &mut view.what else { continue };
            if let Some(opened) = self.0.get(source) {
                source.clone_from(&opened.real);
                allowed.push(Allowed::of(&view.at, &opened.file)?);
            }
        }
        Ok(allowed)
    }

    /// Says what is to be found where there are no rooms.
    ///
    /// # Errors
    ///
    /// It cannot be looked at.
    pub(crate) fn in_place(&self) -> io::Result<Vec<Allowed>> {
        self.0.iter().map(|(source, opened)| Allowed::of(source, &opened.file)).collect()
    }
}

impl Opened {
    fn new(path: &Path) -> io::Result<Self> {
        let file = File::from(open(path)?);
        let real = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        Ok(Self { file, real })
    }
}

/// Opens `path` to hold on to it and nothing else; links are followed.
fn open(path: &Path) -> io::Result<OwnedFd> {
    let hold = |more| openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC | more, Mode::empty());
    // Only what asks for a directory has one mounted that is mounted on demand.
    match hold(OFlags::DIRECTORY) {
        Err(Errno::NOTDIR) => Ok(hold(OFlags::empty())?),
        answer => Ok(answer?),
    }
}

/// Returns the directories that the administrator lists with where they really are.
fn bounds(listed: &[Mount]) -> Vec<(&Mount, PathBuf)> {
    let places = listed.iter().map(|mount| Some((mount, fs::canonicalize(&mount.source).ok()?)));
    places.flatten().collect()
}

/// Says why `mount`, which is `real`, is not shown, if so. The path itself was checked when the run
/// was handed in; where it leads is known now. Pure.
fn refusal(
    mount: &Mount,
    real: &Path,
    state: &Path,
    bounds: Option<&[(&Mount, PathBuf)]>,
) -> Option<String> {
    let is_within =
        |(listed, place): &(&Mount, PathBuf)| listed.holds(mount) && real.starts_with(place);
    if bounds.is_some_and(|bounds| !bounds.iter().any(is_within)) {
        return Some("it is in none of the directories that the administrator shows".to_owned());
    }
    let guarded = ContainerPolicy::default().refusal(real, Some(state));
    guarded.filter(|_| real != mount.source)
}

/// A file or directory that was allowed, and where the run finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Allowed {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Allowed {
    fn of(path: &Path, file: &File) -> io::Result<Self> {
        let found = file.metadata()?;
        Ok(Self { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }

    /// Opens it, if it is still what is there.
    ///
    /// # Errors
    ///
    /// It is not.
    pub(crate) fn open(&self) -> Result<(PathBuf, OwnedFd), NotSeen> {
        let path = || self.path.clone();
        let closed = |source| NotSeen::Closed { path: path(), source };
        let file = File::from(open(&self.path).map_err(closed)?);
        if Self::of(&self.path, &file).map_err(closed)? != *self {
            return Err(NotSeen::Changed { path: path() });
        }
        Ok((path(), file.into()))
    }
}

/// Why a run does not find what it was allowed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSeen {
    /// Somebody put something else into its place meanwhile.
    #[error("what is to be seen at {} was changed after it was checked", path.display())]
    Changed { path: PathBuf },
    /// It is gone, or the way to it is closed.
    #[error("what is to be seen at {} cannot be looked at", path.display())]
    Closed { path: PathBuf, source: io::Error },
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_leads_out_of_what_is_listed_is_not_shown_to_those_who_have_no_more() {
        let (data, scratch): (Mount, Mount) =
            ("/data".parse().unwrap(), "/data/scratch:rw".parse().unwrap());
        let bounds = [(&data, "/mnt/1".into()), (&scratch, "/mnt/2".into())];
        let mut table = String::new();
        for (mount, real) in [
            ("/data", "/mnt/1"),
            ("/data/x", "/mnt/1/x"),
            ("/data/x", "/mnt/1/other/x"),
            ("/data/x", "/mnt/10"),
            ("/data/x", "/srv"),
            ("/data/x", "/etc"),
            ("/data/scratch/x:rw", "/mnt/2/x"),
            ("/data/scratch/x:rw", "/mnt/1/x"),
            ("/data/scratch/x", "/mnt/1/x"),
            ("/srv", "/srv"),
            ("/srv", "/state/runs"),
        ] {
            let parsed: Mount = mount.parse().unwrap();
            for (who, bounds) in [("ruler", None), ("other", Some(&bounds[..]))] {
                let why = refusal(&parsed, Path::new(real), Path::new("/state"), bounds);
                let why = why.unwrap_or_else(|| "-".to_owned());
                table += &format!("{who:6}{mount:20}{real:16}{why}\n");
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn what_was_put_into_its_place_is_not_taken_for_it() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for name in ["data", "other"] {
            fs::create_dir(at(name)).unwrap();
        }
        symlink(at("data"), at("link")).unwrap();
        let policy = SandboxPolicy {
            mounts: vec![at("link").to_str().unwrap().parse().unwrap()],
            ..SandboxPolicy::default()
        };

        let opened = OpenedMounts::open(&policy, Path::new("/state")).unwrap();
        let allowed = opened.in_place().unwrap();
        assert!(allowed[0].open().is_ok());

        fs::remove_file(at("link")).unwrap();
        symlink(at("other"), at("link")).unwrap();
        let changed = allowed[0].open().unwrap_err();
        let path = at("link");
        let said =
            format!("what is to be seen at {} was changed after it was checked", path.display());
        assert_eq!(changed.to_string(), said);
        fs::remove_file(at("link")).unwrap();
        assert!(allowed[0].open().is_err());
    }
}
