//! Everything that trees refer to.

use std::collections::HashSet;

use super::LocalStore;
use crate::digest::Digest;
use crate::store::StoreError;
use crate::tree::EntryKind;

/// The objects that can be reached from some trees, the trees themselves among them.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    trees: HashSet<Digest>,
    blobs: HashSet<Digest>,
    /// The trees that could not be read: what they refer to is not known.
    unreadable: Vec<Digest>,
}

impl Reach {
    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.blobs.contains(digest) || self.trees.contains(digest)
    }

    pub(crate) fn unreadable(&self) -> &[Digest] {
        &self.unreadable
    }

    /// Returns every object once.
    pub(crate) fn into_objects(self) -> Vec<Digest> {
        self.trees.into_iter().chain(self.blobs).collect()
    }

    /// Adds what can be reached from `root`. A tree that is missing, damaged or none is noted.
    pub(crate) fn add(&mut self, store: &LocalStore, root: Digest) -> Result<(), StoreError> {
        let mut rest = vec![root];
        while let Some(digest) = rest.pop() {
            if !self.trees.insert(digest) {
                continue;
            }
            let tree = match store.read_tree(&digest) {
                Ok(tree) => tree,
                Err(
                    StoreError::Missing { .. }
                    | StoreError::Damaged { .. }
                    | StoreError::NotATree { .. },
                ) => {
                    self.unreadable.push(digest);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for entry in tree.entries() {
                match entry.kind {
                    EntryKind::Directory { digest } => rest.push(digest),
                    EntryKind::File { digest, .. } => {
                        self.blobs.insert(digest);
                    }
                    EntryKind::Symlink { .. } => {}
                }
            }
        }
        Ok(())
    }
}

impl LocalStore {
    /// Returns everything that can be reached from `roots`. Hold a lease.
    pub(crate) fn reach(
        &self,
        roots: impl IntoIterator<Item = Digest>,
    ) -> Result<Reach, StoreError> {
        let mut reach = Reach::default();
        for root in roots {
            reach.add(self, root)?;
        }
        Ok(reach)
    }
}
