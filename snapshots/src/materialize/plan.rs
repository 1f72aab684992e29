//! What is to be made: every directory, file and link, with where its content is.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::MaterializeError;
use crate::digest::Digest;
use crate::store::local::{LocalStore, Location, Pack};
use crate::tree::{EntryKind, Tree, TreeEntry};

/// Ten times as many as a snapshot may have by default. Trees can refer to one another so that a
/// few kilobytes stand for more names than a disk can hold.
const MOST: usize = 10_000_000;

/// Everything a snapshot holds, directories before what is in them.
pub(super) struct Plan {
    /// The first is the root, which is made by others.
    pub(super) directories: Vec<Directory>,
    /// In the order of their places in the packs; those with a file of their own first.
    pub(super) files: Vec<PlannedFile>,
    pub(super) links: Vec<Link>,
}

pub(super) struct Directory {
    pub(super) parent: usize,
    pub(super) name: Vec<u8>,
}

pub(super) struct PlannedFile {
    pub(super) directory: usize,
    pub(super) name: Vec<u8>,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) executable: bool,
    pub(super) source: Source,
    /// Set once it has been made, so that only what was made is removed again.
    pub(super) made: AtomicBool,
}

pub(super) struct Link {
    pub(super) directory: usize,
    pub(super) name: Vec<u8>,
    pub(super) target: Vec<u8>,
}

/// Where a file's content is.
pub(super) enum Source {
    Large,
    Packed(Arc<Pack>, Location),
}

impl Plan {
    pub(super) fn of(store: &LocalStore, root: &Digest) -> Result<Self, MaterializeError> {
        let known = trees_below(store, *root)?;
        let root_directory = Directory { parent: 0, name: Vec::new() };
        let mut plan =
            Self { directories: vec![root_directory], files: Vec::new(), links: Vec::new() };
        let mut trees = vec![*root];
        let mut at = 0;
        while let Some(tree) = trees.get(at).and_then(|digest| known.get(digest)) {
            for entry in tree.entries() {
                let name = entry.name.clone();
                match &entry.kind {
                    EntryKind::Directory { digest } => {
                        plan.directories.push(Directory { parent: at, name });
                        trees.push(*digest);
                    }
                    EntryKind::Symlink { target } => {
                        plan.links.push(Link { directory: at, name, target: target.clone() });
                    }
                    EntryKind::File { digest, size, executable } => {
                        let source = store
                            .locate(digest)
                            .map_or(Source::Large, |(pack, at)| Source::Packed(pack, at));
                        plan.files.push(PlannedFile {
                            directory: at,
                            name,
                            digest: *digest,
                            size: *size,
                            executable: *executable,
                            source,
                            made: AtomicBool::new(false),
                        });
                    }
                }
            }
            at += 1;
        }
        plan.files.sort_by(|a, b| a.place().cmp(&b.place()));
        Ok(plan)
    }

    /// Returns how many files and links there are.
    pub(super) fn count(&self) -> u64 {
        (self.files.len() + self.links.len()) as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Returns the path, below the root, of a name in a directory.
    pub(super) fn path(&self, directory: usize, name: &[u8]) -> PathBuf {
        let mut names = vec![name];
        let mut at = directory;
        while at != 0 {
            names.push(&self.directories[at].name);
            at = self.directories[at].parent;
        }
        names.iter().rev().map(|name| OsStr::from_bytes(name)).collect()
    }

    pub(super) fn path_of(&self, file: &PlannedFile) -> PathBuf {
        self.path(file.directory, &file.name)
    }
}

impl PlannedFile {
    pub(super) fn was_made(&self) -> bool {
        self.made.load(Ordering::Relaxed)
    }

    fn place(&self) -> Option<(&str, u64)> {
        match &self.source {
            Source::Large => None,
            Source::Packed(pack, location) => Some((pack.name(), location.offset)),
        }
    }
}

/// Reads every tree below `root`, each once, after all below it, and counts the names they stand
/// for before any is made.
fn trees_below(
    store: &LocalStore,
    root: Digest,
) -> Result<HashMap<Digest, Tree>, MaterializeError> {
    let mut trees = HashMap::new();
    let mut names: HashMap<Digest, usize> = HashMap::new();
    let mut rest = vec![(root, PathBuf::new())];
    while let Some((digest, path)) = rest.pop() {
        if names.contains_key(&digest) {
            continue;
        }
        let tree = match trees.remove(&digest) {
            Some(tree) => tree,
            None => store
                .read_tree(&digest)
                .map_err(|source| MaterializeError::Content { path: path.clone(), source })?,
        };
        let below = |entry: &TreeEntry| match entry.kind {
            EntryKind::Directory { digest } if !names.contains_key(&digest) => {
                Some((digest, path.join(OsStr::from_bytes(&entry.name))))
            }
            _ => None,
        };
        let unknown: Vec<_> = tree.entries().iter().filter_map(below).collect();
        if unknown.is_empty() {
            let of_entry = |entry: &TreeEntry| match entry.kind {
                EntryKind::Directory { digest } => 1 + names.get(&digest).copied().unwrap_or(0),
                _ => 1,
            };
            let count = tree.entries().iter().map(of_entry).fold(0, usize::saturating_add);
            if count > MOST {
                return Err(MaterializeError::TooMany { most: MOST });
            }
            names.insert(digest, count);
        } else {
            rest.push((digest, path));
            rest.extend(unknown);
        }
        trees.insert(digest, tree);
    }
    Ok(trees)
}
