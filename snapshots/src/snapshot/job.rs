//! The work of a snapshot, cut into tasks: list a directory, read some of its files, and put a
//! directory together once everything in it is done.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::merge::{batches, head};
use super::node::{Done, Item, ItemKind, Node, Slot};
use super::objects::Objects;
use super::read::{self, Source};
use super::sizes::LargeDirectories;
use super::{Progress, SnapshotError};
use crate::digest::Digest;
use crate::index::block::Location;
use crate::index::{Index, IndexWriter};
use crate::limits::Size;
use crate::walk::base::OpenDirectory;
use crate::walk::listing::ListingBuffers;
use crate::walk::queue::Queue;
use crate::walk::walker::{Entered, Pending, Walker};

/// What all threads that take a snapshot share.
pub(super) struct Job<'a, O> {
    pub(super) walker: Walker,
    pub(super) objects: &'a O,
    pub(super) progress: &'a dyn Progress,
    pub(super) index: Option<Index>,
    /// What the index says of objects is true of the store.
    pub(super) store_unchanged: bool,
    pub(super) next_index: IndexWriter,
    /// The next index says something else than the last one.
    pub(super) index_changed: AtomicBool,
    pub(super) sizes: LargeDirectories,
    pub(super) result: Mutex<Option<Done>>,
}

/// Something to be done.
pub(super) enum Task {
    /// The source is to be listed.
    Source { entered: Entered, block: Option<Location> },
    /// A directory is to be entered and listed.
    Directory { pending: Pending, slot: Slot, block: Option<Location> },
    /// Some files of a directory are to be read.
    Files { node: Arc<Node>, opened: Arc<OpenDirectory>, path: Arc<[u8]>, items: Vec<usize> },
}

/// Buffers of one thread.
#[derive(Default)]
pub(super) struct Buffers {
    block: Vec<u8>,
    content: Vec<u8>,
    listing: ListingBuffers,
}

impl<O: Objects> Job<'_, O> {
    /// Does one task.
    pub(super) fn handle(
        &self,
        buffers: &mut Buffers,
        task: Task,
        queue: &Queue<Task>,
    ) -> Result<(), SnapshotError> {
        match task {
            Task::Source { entered, block } => {
                self.directory(buffers, &entered, None, block, queue)
            }
            Task::Directory { pending, slot, block } => match self.walker.enter(pending)? {
                Some(entered) => self.directory(buffers, &entered, Some(slot), block, queue),
                None => {
                    slot.fill(None);
                    self.finish(slot.node)
                }
            },
            Task::Files { node, opened, path, items } => {
                let wanted: Vec<_> = items
                    .into_iter()
                    .filter_map(|at| Some((at, followed(&node.lock().items[at])?)))
                    .collect();
                for (at, followed) in wanted {
                    let name = &node.names[node.lock().items[at].name.clone()];
                    let source = Source { directory: &opened, path: &path, name, followed };
                    let kind = self.read(source, &mut buffers.content)?;
                    node.lock().items[at].kind = kind;
                }
                drop(opened);
                self.finish(node)
            }
        }
    }

    /// Lists a directory and makes tasks of what is in it.
    fn directory(
        &self,
        buffers: &mut Buffers,
        entered: &Entered,
        parent: Option<Slot>,
        block: Option<Location>,
        queue: &Queue<Task>,
    ) -> Result<(), SnapshotError> {
        let known = match (&self.index, block) {
            (Some(index), Some(location)) => index.block(location, &mut buffers.block),
            _ => None,
        };
        let last = known.as_ref().map(|known| known.head);
        let listing = self.walker.list(entered, known.clone(), &mut buffers.listing)?;
        let mut merged = self.merge(&listing, known)?;
        let head = head(entered, &listing, last, merged.state.unchanged);
        if last != Some(head) {
            self.index_changed.store(true, Ordering::Relaxed);
        }
        self.tell(&merged.state.items);

        if self.sizes.over_limit() {
            // It will be refused. The rest is only counted, to say what is so large.
            merged.unread.clear();
        }

        // Few files are read here and now; more are shared out.
        let mut batches = batches(&merged.state.items, &merged.unread);
        if let [_] = batches[..] {
            for at in batches.remove(0) {
                let item = &mut merged.state.items[at];
                let name = &listing.names[item.name.clone()];
                let followed = followed(item).unwrap_or(false);
                let source =
                    Source { directory: &entered.opened, path: &entered.path, name, followed };
                item.kind = self.read(source, &mut buffers.content)?;
            }
        }
        let parts = merged.directories.len() + batches.len() + 1;
        let rules = listing.rules;
        let node = Arc::new(Node {
            place: entered.place.clone(),
            parent,
            head,
            names: listing.names,
            only_for_content: entered.is_ignored(),
            remaining: AtomicUsize::new(parts),
            state: Mutex::new(merged.state),
        });
        queue.push(merged.directories.into_iter().rev().map(|inner| Task::Directory {
            pending: self.walker.pending(entered, &rules, &node.names[inner.name], inner.followed),
            slot: Slot { node: node.clone(), item: inner.item },
            block: inner.block,
        }));
        let path: Arc<[u8]> = if batches.is_empty() { [].into() } else { (*entered.path).into() };
        queue.push(batches.into_iter().map(|items| Task::Files {
            node: node.clone(),
            opened: entered.opened.clone(),
            path: path.clone(),
            items,
        }));
        self.finish(node)
    }

    /// Returns whether the store still has an object that the index knows of.
    pub(super) fn has(&self, digest: &Digest) -> Result<bool, SnapshotError> {
        Ok(self.store_unchanged || self.objects.has(digest)?)
    }

    fn read(&self, source: Source<'_>, buffer: &mut Vec<u8>) -> Result<ItemKind, SnapshotError> {
        let Some(content) = read::read(source, self.objects, buffer)? else {
            return Ok(ItemKind::Gone);
        };
        self.progress.hashed(1, content.stamp.size);
        Ok(ItemKind::File {
            stamp: content.stamp,
            digest: Some(content.digest),
            settled: content.settled,
            followed: source.followed,
        })
    }

    /// Tells of the files that were found, and of those whose digest is known already.
    fn tell(&self, items: &[Item]) {
        let (mut found, mut hashed) = (Size::default(), Size::default());
        for item in items {
            let known = !matches!(item.kind, ItemKind::File { digest: None, .. });
            item.count(&mut found);
            if known {
                item.count(&mut hashed);
            }
        }
        self.sizes.found(found);
        self.progress.found(found.files, found.bytes);
        if hashed.files > 0 {
            self.progress.hashed(hashed.files, hashed.bytes);
        }
    }

    /// Marks one part of a directory as done, and puts it and those it is in together when that
    /// was the last.
    fn finish(&self, mut node: Arc<Node>) -> Result<(), SnapshotError> {
        while node.part_done() {
            let done = self.put_together(&node)?;
            let Some(slot) = &node.parent else {
                *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
                break;
            };
            slot.fill((!node.is_left_out()).then_some(done));
            let parent = slot.node.clone();
            node = parent;
        }
        Ok(())
    }

    fn put_together(&self, node: &Node) -> Result<Done, SnapshotError> {
        let state = node.lock();
        let (size, directories) = state.size();
        if node.parent.is_some() && self.sizes.is_large(size) {
            let mut path = Vec::new();
            node.place.path(&mut path);
            self.sizes.add(path, size);
        }
        let unchanged = state.unchanged && self.has(&node.head.tree)?;
        let mut head = node.head;
        if !unchanged {
            self.index_changed.store(true, Ordering::Relaxed);
            let tree = state.tree(&node.names).expect("names of a directory are legal and differ");
            head.tree = self.objects.tree(tree)?;
        }
        let block = self.next_index.add(&head, state.known(&node.names));
        Ok(Done { tree: head.tree, block, size, directories, unchanged })
    }
}

/// Returns whether a file is behind a link; nothing for what is no file.
fn followed(item: &Item) -> Option<bool> {
    match item.kind {
        ItemKind::File { followed, .. } => Some(followed),
        _ => None,
    }
}
