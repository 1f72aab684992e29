//! The user of a container: what belongs to it, and what it may see of this machine.

use std::fs;
use std::io;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, getegid, geteuid, setfsgid, setfsuid};
use snapshots::path_error::{IoContext as _, PathError};

/// A user and group of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    uid: Uid,
    gid: Gid,
}

impl Owner {
    /// Reads `uid:gid`.
    pub(super) fn parse(user: &str) -> Option<Self> {
        let (uid, gid) = user.split_once(':')?;
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        Some(Self { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid) })
    }

    /// Returns who this process runs as.
    pub(super) fn of_this_process() -> Self {
        Self { uid: geteuid(), gid: getegid() }
    }

    /// Says whether things must be given to this user: only root can, and need not to itself.
    fn is_another(self) -> bool {
        geteuid().is_root() && self != Self::of_this_process()
    }

    /// Gives `path` to this user by `chown`, where that is needed.
    pub(super) fn take(
        self,
        path: &Path,
        chown: impl Fn(&Path, Option<u32>, Option<u32>) -> io::Result<()>,
    ) -> Result<(), PathError> {
        if !self.is_another() {
            return Ok(());
        }
        chown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw())).context("give away", path)
    }

    /// Gives `path` with all that is in it to this user; never follows a link.
    ///
    /// Nobody else may be at work in it.
    pub(super) fn take_tree(self, path: &Path) -> Result<(), PathError> {
        if !self.is_another() {
            return Ok(());
        }
        let mut pending = vec![path.to_owned()];
        while let Some(path) = pending.pop() {
            let facts = fs::symlink_metadata(&path).context("look at", &path)?;
            if facts.is_dir() {
                for entry in fs::read_dir(&path).context("list", &path)? {
                    pending.push(entry.context("list", &path)?.path());
                }
            }
            self.take(&path, |path, uid, gid| lchown(path, uid, gid))?;
        }
        Ok(())
    }

    /// Returns where `path` really is, as far as this user may follow it: what a user cannot
    /// reach is not shown to its container either.
    pub(super) fn real_path(self, path: &Path) -> io::Result<PathBuf> {
        if !self.is_another() {
            return fs::canonicalize(path);
        }
        // Of this thread only. Root's own rights over files are gone with it.
        let (uid, gid) = (setfsuid(self.uid), setfsgid(self.gid));
        let found = fs::canonicalize(path);
        setfsuid(uid);
        setfsgid(gid);
        found
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_user_is_two_numbers() {
        let owner = Owner::parse("1000:100").unwrap();
        assert_eq!((owner.uid.as_raw(), owner.gid.as_raw()), (1000, 100));
        for user in ["", "1000", "ana:ana", "-1:0", "1000:100:7"] {
            assert_eq!(Owner::parse(user), None, "{user}");
        }
    }

    #[test]
    fn a_tree_changes_hands_and_what_links_point_at_does_not() {
        if !geteuid().is_root() {
            eprintln!("skipped: only root can give files away");
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let tree = base.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/b/c"), b"x").unwrap();
        symlink(outside.path(), tree.join("link")).unwrap();

        Owner::parse("1234:5678").unwrap().take_tree(&tree).unwrap();

        for path in ["", "a", "a/b", "a/b/c", "link"] {
            let facts = fs::symlink_metadata(tree.join(path)).unwrap();
            assert_eq!((facts.uid(), facts.gid()), (1234, 5678), "{path}");
        }
        assert_eq!(fs::metadata(outside.path()).unwrap().uid(), 0);
        assert_eq!(fs::metadata(base.path()).unwrap().uid(), 0);
    }

    #[test]
    fn what_a_user_cannot_reach_has_no_real_path() {
        if !geteuid().is_root() {
            eprintln!("skipped: only root can look as somebody else");
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let data = base.path().join("data");
        fs::create_dir(&data).unwrap();
        symlink(&data, base.path().join("link")).unwrap();
        let ana = Owner::parse("1234:5678").unwrap();
        let mode =
            |mode| fs::set_permissions(base.path(), fs::Permissions::from_mode(mode)).unwrap();

        mode(0o700);
        let refused = ana.real_path(&data).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        mode(0o755);
        assert_eq!(
            ana.real_path(&base.path().join("link")).unwrap(),
            fs::canonicalize(&data).unwrap()
        );
        assert_eq!(
            Owner::of_this_process().real_path(&data).unwrap(),
            fs::canonicalize(&data).unwrap()
        );
        assert_eq!(fs::metadata("/proc/self").unwrap().uid(), 0, "the look has not changed us");
    }
}
