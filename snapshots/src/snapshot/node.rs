//! A directory whose snapshot is being put together, from below.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::digest::Digest;
use crate::index::block::{Head, Known, KnownKind, Location};
use crate::index::stamp::Stamp;
use crate::limits::Size;
use crate::tree::{EntryKind, Tree, TreeEntry, TreeError};
use crate::walk::place::Place;

/// A directory with what is known so far of what it holds.
pub(super) struct Node {
    pub(super) place: Arc<Place>,
    /// Where the result goes.
    pub(super) parent: Option<Slot>,
    /// What the index will say of the directory; the digest of its tree is that of last time.
    pub(super) head: Head,
    pub(super) names: Vec<u8>,
    /// It is left out unless it holds something.
    pub(super) only_for_content: bool,
    /// Parts that are not done yet.
    pub(super) remaining: AtomicUsize,
    pub(super) state: Mutex<State>,
}

/// A place for a directory's result in the directory it is in.
pub(super) struct Slot {
    pub(super) node: Arc<Node>,
    pub(super) item: usize,
}

/// What the threads fill in.
pub(super) struct State {
    pub(super) items: Vec<Item>,
    /// The tree will be that of last time.
    pub(super) unchanged: bool,
}

/// One name in a directory.
pub(super) struct Item {
    pub(super) name: Range<usize>,
    pub(super) kind: ItemKind,
}

/// What has a name.
pub(super) enum ItemKind {
    /// A file, with its digest once it was read.
    File { stamp: Stamp, digest: Option<Digest>, settled: bool, followed: bool },
    /// A link.
    Link { target: Vec<u8> },
    /// A directory, with its result once it is done.
    Directory { done: Option<Done> },
    /// Nothing: it was gone when its turn came.
    Gone,
}

/// A directory that is done.
#[derive(Clone, Copy)]
pub(super) struct Done {
    pub(super) tree: Digest,
    pub(super) block: Location,
    /// All files below.
    pub(super) size: Size,
    /// How many directories are below.
    pub(super) directories: u64,
    /// The tree is that of last time.
    pub(super) unchanged: bool,
}

impl Node {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it holds nothing and is only kept for what it holds.
    pub(super) fn is_left_out(&self) -> bool {
        let gone = |item: &Item| matches!(item.kind, ItemKind::Gone);
        self.only_for_content && self.lock().items.iter().all(gone)
    }

    /// Marks one part as done; returns whether it was the last.
    pub(super) fn part_done(&self) -> bool {
        self.remaining.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl Drop for Node {
    /// Takes the chain apart link by link: it is as long as the source is deep.
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(mut node) = parent.and_then(|slot| Arc::into_inner(slot.node)) {
            parent = node.parent.take();
        }
    }
}

impl Slot {
    /// Fills in a directory's result, or that there is none.
    pub(super) fn fill(&self, done: Option<Done>) {
        let mut state = self.node.lock();
        state.unchanged &= done.is_some_and(|done| done.unchanged);
        state.items[self.item].kind = match done {
            Some(done) => ItemKind::Directory { done: Some(done) },
            None => ItemKind::Gone,
        };
    }
}

impl Item {
    /// Adds a file or link to `size`; a link has no bytes.
    pub(super) fn count(&self, size: &mut Size) {
        match self.kind {
            ItemKind::File { stamp, .. } => {
                size.files += 1;
                size.bytes += stamp.size;
            }
            ItemKind::Link { .. } => size.files += 1,
            ItemKind::Directory { .. } | ItemKind::Gone => {}
        }
    }
}

impl State {
    /// Returns the size of all that is below, and how many directories are.
    pub(super) fn size(&self) -> (Size, u64) {
        let (mut size, mut directories) = (Size::default(), 0);
        for item in &self.items {
            item.count(&mut size);
            if let ItemKind::Directory { done: Some(done) } = &item.kind {
                size.files += done.size.files;
                size.bytes += done.size.bytes;
                directories += 1 + done.directories;
            }
        }
        (size, directories)
    }

    /// Returns the directory's tree.
    pub(super) fn tree(&self, names: &[u8]) -> Result<Tree, TreeError> {
        let entries = self.items.iter().filter_map(|item| {
            let kind = match &item.kind {
                ItemKind::File { stamp, digest: Some(digest), .. } => EntryKind::File {
                    digest: *digest,
                    size: stamp.size,
                    executable: stamp.executable(),
                },
                ItemKind::Link { target } => EntryKind::Symlink { target: target.clone() },
                ItemKind::Directory { done: Some(done) } => {
                    EntryKind::Directory { digest: done.tree }
                }
                _ => return None,
            };
            Some(TreeEntry { name: names[item.name.clone()].to_vec(), kind })
        });
        Tree::new(entries.collect())
    }

    /// Returns what the index is to know of the directory.
    pub(super) fn known<'a>(&'a self, names: &'a [u8]) -> impl Iterator<Item = Known<'a>> + Clone {
        self.items.iter().filter_map(|item| {
            let kind = match &item.kind {
                ItemKind::File { stamp, digest: Some(digest), settled, .. } => KnownKind::File {
                    stamp: if *settled { *stamp } else { Stamp::UNKNOWN },
                    digest: *digest,
                },
                ItemKind::Link { target } => KnownKind::Link { target },
                ItemKind::Directory { done: Some(done) } => {
                    KnownKind::Directory { block: done.block }
                }
                _ => return None,
            };
            Some(Known { name: &names[item.name.clone()], kind })
        })
    }
}
