//! Files of a snapshot, by path.

use std::collections::HashMap;

use snapshots::digest::Digest;
use snapshots::store::local::LocalStore;
use snapshots::tree::{EntryKind, Tree};

/// Looks up files of a snapshot by path. Reads each directory once.
pub struct SnapshotFiles {
    objects: LocalStore,
    root: Digest,
    trees: std::cell::RefCell<HashMap<Digest, Option<Tree>>>,
}

impl SnapshotFiles {
    /// Looks in the snapshot `root` of `objects`.
    #[must_use]
    pub fn new(objects: LocalStore, root: Digest) -> Self {
        Self { objects, root, trees: std::cell::RefCell::default() }
    }

    /// Returns the content of the file at `path`, whose names are separated by slashes; `None` when
    /// there is none.
    #[must_use]
    pub fn digest(&self, path: &[u8]) -> Option<Digest> {
        let mut at = self.root;
        let mut names = path.split(|byte| *byte == b'/').peekable();
        while let Some(name) = names.next() {
            match (self.entry(&at, name)?, names.peek()) {
                (EntryKind::File { digest, .. }, None) => return Some(digest),
                (EntryKind::Directory { digest }, Some(_)) => at = digest,
                _ => return None,
            }
        }
        None
    }

    fn entry(&self, tree: &Digest, name: &[u8]) -> Option<EntryKind> {
        let mut trees = self.trees.borrow_mut();
        // A tree that cannot be read has no files: then all that the run left counts as its own.
        let tree = trees.entry(*tree).or_insert_with(|| self.objects.read_tree(tree).ok());
        tree.as_ref()?.get(name).map(|entry| entry.kind.clone())
    }
}
