//! Where the objects of a snapshot go.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use crate::digest::{Digest, Hasher};
use crate::store::StoreError;
use crate::store::local::{LocalStore, StoreWriter, Written};
use crate::tree::Tree;

/// Takes the objects of a snapshot, from several threads at once.
pub(super) trait Objects: Sync {
    /// Takes a file's bytes.
    fn blob(&self, bytes: &[u8]) -> Result<Digest, StoreError>;
    /// Takes a file that is too large to be held in memory; also returns its length.
    fn large(&self, from: &mut dyn Read) -> Result<(Digest, u64), StoreError>;
    /// Takes a directory's listing.
    fn tree(&self, tree: Tree) -> Result<Digest, StoreError>;
    /// Returns whether an object that was taken some other time is still there.
    fn has(&self, digest: &Digest) -> Result<bool, StoreError>;
}

/// Puts objects into a store, with as many writers as threads put at the same time.
pub(super) struct StoredObjects<'a> {
    store: &'a LocalStore,
    /// What was put by any thread, so that no two writers write the same.
    put: Mutex<HashSet<Digest>>,
    written: Mutex<Written>,
    /// Those that no thread uses now. Whoever needs one takes the last: few changes, one pack.
    idle: Mutex<Vec<StoreWriter>>,
}

impl<'a> StoredObjects<'a> {
    pub(super) fn new(store: &'a LocalStore) -> Self {
        Self { store, put: Mutex::default(), written: Mutex::default(), idle: Mutex::default() }
    }

    fn with_writer<T>(
        &self,
        work: impl FnOnce(&mut StoreWriter) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut writer = match idle {
            Some(writer) => writer,
            None => self.store.writer()?,
        };
        let result = work(&mut writer);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(writer);
        result
    }

    /// Returns whether an object is put for the first time. Whoever it is true for has to store
    /// it, or nothing at all is committed.
    fn first(&self, digest: Digest) -> bool {
        self.put.lock().unwrap_or_else(PoisonError::into_inner).insert(digest)
    }

    fn count(&self, bytes: u64) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) +=
            Written { objects: 1, bytes };
    }

    /// Makes everything durable, all packs at the same time; returns what the store did not have.
    pub(super) fn commit(self) -> Result<Written, StoreError> {
        let writers = self.idle.into_inner().unwrap_or_else(PoisonError::into_inner);
        std::thread::scope(|scope| {
            let commits: Vec<_> =
                writers.into_iter().map(|writer| scope.spawn(|| writer.commit())).collect();
            for commit in commits {
                match commit.join() {
                    Ok(committed) => drop(committed?),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok::<(), StoreError>(())
        })?;
        Ok(self.written.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Objects for StoredObjects<'_> {
    fn blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if self.first(digest) && self.with_writer(|writer| writer.put(digest, bytes))? {
            self.count(bytes.len() as u64);
        }
        Ok(digest)
    }

    fn large(&self, from: &mut dyn Read) -> Result<(Digest, u64), StoreError> {
        let (digest, length, new) = self.with_writer(|writer| writer.put_large(from))?;
        // Two threads may have stored the same: it has one place, and counts once.
        if self.first(digest) && new {
            self.count(length);
        }
        Ok((digest, length))
    }

    fn tree(&self, tree: Tree) -> Result<Digest, StoreError> {
        self.blob(&tree.encode())
    }

    fn has(&self, digest: &Digest) -> Result<bool, StoreError> {
        let put = self.put.lock().unwrap_or_else(PoisonError::into_inner).contains(digest);
        Ok(put || self.with_writer(|writer| writer.has(digest))?)
    }
}

/// The trees of a directory that was hashed without storing anything.
#[derive(Debug, Default)]
pub struct MemoryTrees(BTreeMap<Digest, Tree>);

impl MemoryTrees {
    /// Returns the directory listing with this digest.
    #[must_use]
    pub fn get(&self, digest: &Digest) -> Option<&Tree> {
        self.0.get(digest)
    }
}

/// Keeps trees in memory and forgets blobs.
#[derive(Default)]
pub(super) struct HashedObjects(Mutex<MemoryTrees>);

impl HashedObjects {
    pub(super) fn into_trees(self) -> MemoryTrees {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Objects for HashedObjects {
    fn blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        Ok(Digest::of(bytes))
    }

    fn large(&self, from: &mut dyn Read) -> Result<(Digest, u64), StoreError> {
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 256 << 10];
        let mut length = 0;
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return Ok((hasher.finish(), length)),
                Ok(read) => {
                    hasher.update(&buffer[..read]);
                    length += read as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(StoreError::Stream { source }),
            }
        }
    }

    fn tree(&self, tree: Tree) -> Result<Digest, StoreError> {
        let digest = tree.digest();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.insert(digest, tree);
        Ok(digest)
    }

    fn has(&self, _: &Digest) -> Result<bool, StoreError> {
        Ok(true)
    }
}
