//! Holds: what keeps a snapshot from clean-up while a program has a use for it.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::PathBuf;

use tempfile::NamedTempFile;

use super::LocalStore;
use crate::digest::Digest;
use crate::path_error::IoContext;
use crate::store::StoreError;

/// While it lives, clean-up leaves one snapshot alone. Dropping it, or dying, ends it.
///
/// Unlike a [`Lease`](super::Lease) it keeps nobody waiting, however long it lives.
#[derive(Debug)]
#[must_use = "dropping a hold allows the snapshot to be removed"]
pub struct Hold {
    /// Locked; removed when this is dropped.
    _file: NamedTempFile,
}

impl LocalStore {
    /// Keeps the snapshot `id` from being removed by clean-up until the hold is dropped.
    ///
    /// Take it under a [`lease`](Self::lease) that you have had since before the snapshot was
    /// taken, or clean-up may come between the two.
    ///
    /// # Errors
    ///
    /// [`StoreError::Path`]: the hold cannot be written.
    pub fn hold(&self, id: &Digest) -> Result<Hold, StoreError> {
        // Clean-up takes a hold that is not locked for a dead one, but looks without leases only.
        let _lease = self.lease()?;
        let directory = self.holds();
        fs::create_dir_all(&directory).context("create", &directory)?;
        let file = tempfile::Builder::new()
            .prefix(&format!("{id}."))
            .tempfile_in(&directory)
            .context("create a file in", &directory)?;
        file.as_file().lock().context("lock", file.path())?;
        Ok(Hold { _file: file })
    }

    /// Returns the snapshots that somebody holds. With `clear` the files of those who died are
    /// removed: for whoever has the exclusive lock.
    pub(crate) fn held(&self, clear: bool) -> Result<BTreeSet<Digest>, StoreError> {
        let directory = self.holds();
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries.context("list", &directory)?,
        };
        let mut held = BTreeSet::new();
        for entry in entries {
            let entry = entry.context("list", &directory)?;
            let path = entry.path();
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.split('.').next()?.parse::<Digest>().ok());
            let Some(id) = id else { continue };
            let file = match File::open(&path) {
                // It has just ended.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file.context("open", &path)?,
            };
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    held.insert(id);
                }
                Err(TryLockError::Error(error)) => Err(error).context("lock", &path)?,
                Ok(()) if clear => match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        Err(error).context("remove", &path)?;
                    }
                    _ => {}
                },
                Ok(()) => {}
            }
        }
        Ok(held)
    }

    fn holds(&self) -> PathBuf {
        self.inner.directory.join("holds")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::snapshot::{SnapshotOptions, take};

    #[test]
    fn clean_up_leaves_a_snapshot_alone_while_it_is_held_and_no_longer() {
        let base = tempfile::tempdir().unwrap();
        let source = base.path().join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("Dockerfile"), "FROM scratch").unwrap();
        let store = LocalStore::open(&base.path().join("store")).unwrap();
        let lease = store.lease().unwrap();
        let id = take(&source, &store, &SnapshotOptions::default(), &()).unwrap().record.id;
        let hold = store.hold(&id).unwrap();
        drop(lease);
        let collect = |dry_run| crate::gc::collect(&store, &[], Duration::ZERO, dry_run).unwrap();

        assert_eq!(collect(true).records_removed, 0);
        assert_eq!(collect(false).records_removed, 0);
        let tree = store.read_tree(&id).unwrap();
        assert!(tree.get(b"Dockerfile").is_some());

        // One who died: the file is there and nobody has locked it.
        let dead = store.holds().join(format!("{id}.dead"));
        fs::write(&dead, "").unwrap();
        drop(hold);
        assert_eq!(collect(true).records_removed, 1);
        assert!(dead.exists(), "a dry run changes nothing");
        assert_eq!(collect(false).records_removed, 1);
        assert_eq!(store.record(&id).unwrap(), None);
        assert_eq!(fs::read_dir(store.holds()).unwrap().count(), 0);
    }
}
