//! Compares a directory as it is with the directory as the index knows it.

use std::iter::Peekable;
use std::ops::Range;

use super::SnapshotError;
use super::job::Job;
use super::node::{Item, ItemKind, State};
use super::objects::Objects;
use crate::digest::Digest;
use crate::index::block::{Block, Head, KnownKind, Location};
use crate::index::stamp::Stamp;
use crate::store::LARGE_OBJECT_BYTES;
use crate::walk::listing::{DirectoryListing, FoundKind};
use crate::walk::walker::Entered;

/// Files of one directory are read in one go up to so many and so many bytes; beyond that other
/// threads help.
const BATCH_FILES: usize = 64;
const BATCH_BYTES: u64 = LARGE_OBJECT_BYTES;

impl<O: Objects> Job<'_, O> {
    /// Compares what is there with what is known from last time.
    pub(super) fn merge(
        &self,
        listing: &DirectoryListing,
        known: Option<Block<'_>>,
    ) -> Result<Merged, SnapshotError> {
        let mut known = known.map(Iterator::peekable);
        let mut merged = Merged::new(listing.found.len(), known.is_some());
        for (at, found) in listing.found.iter().enumerate() {
            let name = found.name.clone();
            let last = known.as_mut().and_then(|known| {
                let (last, skipped) = advance(known, &listing.names[name.clone()]);
                merged.state.unchanged &= !skipped;
                last
            });
            let (kind, same) = match (&found.kind, last) {
                (&FoundKind::File { stamp, followed }, last) => {
                    let digest = match last {
                        Some(KnownKind::File { stamp: then, digest })
                            if then == stamp && self.has(&digest)? =>
                        {
                            Some(digest)
                        }
                        _ => None,
                    };
                    if digest.is_none() {
                        merged.unread.push(at);
                    }
                    let kind = ItemKind::File { stamp, digest, settled: true, followed };
                    (kind, digest.is_some())
                }
                (FoundKind::Link { target }, last) => {
                    let same = last == Some(KnownKind::Link { target });
                    (ItemKind::Link { target: target.clone() }, same)
                }
                (&FoundKind::Directory { followed }, last) => {
                    let block = match last {
                        Some(KnownKind::Directory { block }) => Some(block),
                        _ => None,
                    };
                    merged.directories.push(Inner {
                        item: at,
                        name: name.clone(),
                        block,
                        followed,
                    });
                    (ItemKind::Directory { done: None }, block.is_some())
                }
            };
            merged.state.unchanged &= same;
            merged.state.items.push(Item { name, kind });
        }
        merged.state.unchanged &= known.is_some_and(|mut known| known.next().is_none());
        Ok(merged)
    }
}

/// A directory, as it is and as it was.
pub(super) struct Merged {
    pub(super) state: State,
    /// Files that have to be read.
    pub(super) unread: Vec<usize>,
    pub(super) directories: Vec<Inner>,
}

/// A directory in the one that was listed.
pub(super) struct Inner {
    pub(super) item: usize,
    pub(super) name: Range<usize>,
    pub(super) block: Option<Location>,
    pub(super) followed: bool,
}

impl Merged {
    fn new(count: usize, unchanged: bool) -> Self {
        let state = State { items: Vec::with_capacity(count), unchanged };
        Self { state, unread: Vec::new(), directories: Vec::new() }
    }
}

/// Goes on to `name`; returns what it was, and whether names before it are gone.
fn advance<'a>(known: &mut Peekable<Block<'a>>, name: &[u8]) -> (Option<KnownKind<'a>>, bool) {
    let mut skipped = false;
    while known.next_if(|last| last.name < name).is_some() {
        skipped = true;
    }
    (known.next_if(|last| last.name == name).map(|last| last.kind), skipped)
}

/// Returns what the index will say of a directory.
pub(super) fn head(
    entered: &Entered,
    listing: &DirectoryListing,
    known: Option<Head>,
    unchanged: bool,
) -> Head {
    let tree = match &known {
        Some(known) if unchanged => known.tree,
        _ => Digest::from_bytes([0; 32]),
    };
    let directory = match known {
        Some(known) if listing.from_index => known.directory,
        _ if listing.lasting => entered.stamp,
        _ => Stamp::UNKNOWN,
    };
    let ignore_file = listing.ignore_file;
    Head { tree, directory, rules: listing.rules.fingerprint, ignore_file }
}

/// Shares out the files that have to be read.
pub(super) fn batches(items: &[Item], unread: &[usize]) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut bytes = 0;
    for &at in unread {
        let size = match &items[at].kind {
            ItemKind::File { stamp, .. } => stamp.size,
            _ => 0,
        };
        bytes += size;
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_FILES && bytes <= BATCH_BYTES => batch.push(at),
            _ => {
                batches.push(vec![at]);
                bytes = size;
            }
        }
    }
    batches
}
