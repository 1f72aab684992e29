//! What clean-up sees of a store, and how it removes.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::lease::Exclusive;
use super::pack::Pack;
use super::reach::Reach;
use super::{LocalStore, durable};
use crate::digest::Digest;
use crate::path_error::{IoContext, PathError};
use crate::store::StoreError;

/// A large object as it lies in the store.
pub(crate) struct LargeObject {
    pub(crate) digest: Digest,
    pub(crate) path: PathBuf,
    pub(crate) modified: SystemTime,
    pub(crate) bytes: u64,
}

impl LocalStore {
    /// Waits until nobody writes, and keeps writers out while it lives.
    pub(crate) fn exclusive(&self, patience: Duration) -> Result<Exclusive, StoreError> {
        Exclusive::wait(&self.inner.directory, patience)
    }

    /// Returns every pack, as last seen.
    pub(crate) fn packs(&self) -> Vec<Arc<Pack>> {
        self.inner.packs.all()
    }

    /// Returns every pack, as last seen, with its time stamp, in the order of their names.
    pub(crate) fn packs_with_times(&self) -> Result<Vec<(Arc<Pack>, SystemTime)>, StoreError> {
        let mut packs = Vec::new();
        for pack in self.packs() {
            let modified = fs::metadata(pack.path()).and_then(|metadata| metadata.modified());
            let modified = modified.context("read", pack.path())?;
            packs.push((pack, modified));
        }
        packs.sort_unstable_by(|(a, _), (b, _)| a.name().cmp(b.name()));
        Ok(packs)
    }

    /// Returns every large object.
    pub(crate) fn large_objects(&self) -> Result<Vec<LargeObject>, StoreError> {
        let mut objects = Vec::new();
        for directory in list(self.inner.large.directory())? {
            for path in list(&directory)? {
                let name = path.file_name().and_then(OsStr::to_str).map(str::parse);
                let Some(Ok(digest)) = name else { continue };
                let metadata = fs::metadata(&path).context("read", &path)?;
                let modified = metadata.modified().context("read", &path)?;
                objects.push(LargeObject { digest, path, modified, bytes: metadata.len() });
            }
        }
        Ok(objects)
    }

    /// Returns whether the object is known to be damaged.
    pub(crate) fn is_damaged(&self, digest: &Digest) -> bool {
        self.inner.damage.contains(digest)
    }

    /// Removes a pack, then its index. Hold the exclusive lock.
    pub(crate) fn remove_pack(&self, pack: &Pack) -> Result<(), StoreError> {
        remove(pack.path())?;
        Ok(remove(&pack.path().with_extension("idx"))?)
    }

    /// Removes a large object. Hold the exclusive lock.
    pub(crate) fn remove_large(&self, path: &Path) -> Result<(), StoreError> {
        Ok(remove(path)?)
    }

    /// Removes what crashed writers left, indexes without a pack, and the marks of damaged objects
    /// that nobody needs. Hold the exclusive lock: then no temporary file is in use.
    pub(crate) fn sweep_leftovers(&self, live: &Reach) -> Result<(), StoreError> {
        for path in list(&self.inner.temporary)? {
            remove(&path)?;
        }
        let packs = list(self.inner.packs.directory())?;
        let known: HashSet<&PathBuf> = packs.iter().collect();
        for path in &packs {
            let orphan = path.extension() == Some(OsStr::new("idx"))
                && !known.contains(&path.with_extension("pack"));
            if orphan {
                remove(path)?;
            }
        }
        durable::sync_directory(self.inner.packs.directory())?;
        self.refresh()?;
        for digest in self.inner.damage.all() {
            if !live.contains(&digest) && self.inner.packs.find(&digest).is_none() {
                let large = self.inner.large.path(&digest);
                if !large.exists() {
                    self.inner.damage.heal(&digest)?;
                }
            }
        }
        Ok(())
    }
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, PathError> {
    let entries = fs::read_dir(directory).context("list", directory)?;
    entries.map(|entry| Ok(entry.context("list", directory)?.path())).collect()
}

fn remove(path: &Path) -> Result<(), PathError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context("remove", path),
        _ => Ok(()),
    }
}
