//! Taking a snapshot: walk, index, hash, store.
//!
//! Several threads share one stack of tasks. Whoever lists a directory compares it with the index
//! on the spot, reads the few files that changed, and leaves its subdirectories to whoever is
//! free; whoever does the last part of a directory puts its tree together, and so on upwards.
//! Objects are durable before the record that refers to them is written, and the record before
//! [`take`] returns.

mod error;
mod job;
mod merge;
mod node;
mod objects;
mod options;
mod read;
mod record;
mod sizes;
mod warning;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

pub use error::SnapshotError;
pub use objects::MemoryTrees;
pub use options::SnapshotOptions;
pub use record::SnapshotRecord;
pub use warning::{SpecialKind, Warning};

use self::job::{Job, Task};
use self::node::Done;
use self::objects::{HashedObjects, Objects, StoredObjects};
use self::sizes::LargeDirectories;
use crate::digest::Digest;
use crate::index::{Index, IndexWriter};
use crate::store::local::LocalStore;
use crate::walk::queue;
use crate::walk::walker::Walker;

/// Hears how far a snapshot has come, from several threads at once.
///
/// Every call says how much came on top, not the total.
pub trait Progress: Sync {
    /// So many more files belong to the snapshot.
    fn found(&self, files: u64, bytes: u64);
    /// The content of so many more files is known, read now or known from before.
    fn hashed(&self, files: u64, bytes: u64);
}

/// Nobody listens.
impl Progress for () {
    fn found(&self, _: u64, _: u64) {}
    fn hashed(&self, _: u64, _: u64) {}
}

/// A snapshot that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The record, as it is in the store.
    pub record: SnapshotRecord,
    /// What is odd about it.
    pub warnings: Vec<Warning>,
    /// How many objects the store did not have before.
    pub new_objects: u64,
    /// Their bytes, before any compression.
    pub new_bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Takes a snapshot of `source` into `store`.
///
/// When it returns, the snapshot and its record are durable. Killed before, it leaves nothing but
/// objects that nobody refers to.
///
/// # Errors
///
/// [`SnapshotError`] names what could not be kept. Nothing was recorded.
pub fn take(
    source: &Path,
    store: &LocalStore,
    options: &SnapshotOptions,
    progress: &dyn Progress,
) -> Result<Taken, SnapshotError> {
    let started = Instant::now();
    // From the first question what the store has until the record is there.
    let _lease = store.lease()?;
    let generation = store.generation()?;
    let index = options.index.as_deref().and_then(Index::open);
    let store_unchanged = match &index {
        Some(index) => index.store == generation && has_root(index, store)?,
        None => false,
    };
    let objects = StoredObjects::new(store);
    let outcome = run(source, options, progress, &objects, index, store_unchanged)?;
    let written = objects.commit()?;
    let record = SnapshotRecord {
        version: SnapshotRecord::VERSION,
        id: outcome.root.tree,
        file_count: outcome.root.size.files,
        directory_count: outcome.root.directories,
        total_bytes: outcome.root.size.bytes,
        created_time_utc: Timestamp::now(),
        kept: options.kept,
        warnings: outcome.warnings.iter().map(ToString::to_string).collect(),
    };
    store.put_record(&record)?;
    let record = store.record(&record.id)?.unwrap_or(record);
    if let Some(path) = options.index.as_deref().filter(|_| outcome.index_changed)
        && let Err(error) = outcome.next_index.save(path, outcome.root.block, &generation)
    {
        // The next snapshot takes longer, and this one is whole without it.
        tracing::warn!(error = &error as &dyn std::error::Error, "Could not save the index.");
    }
    Ok(Taken {
        record,
        warnings: outcome.warnings,
        new_objects: written.objects,
        new_bytes: written.bytes,
        elapsed: started.elapsed(),
    })
}

/// Returns the id that a snapshot of `source` would have, and its trees, without storing anything.
///
/// # Errors
///
/// As [`take`].
pub fn digest_only(
    source: &Path,
    options: &SnapshotOptions,
) -> Result<(Digest, MemoryTrees), SnapshotError> {
    let objects = HashedObjects::default();
    let outcome = run(source, options, &(), &objects, None, false)?;
    Ok((outcome.root.tree, objects.into_trees()))
}

/// Returns whether the store has the tree that the index was made with. The generation says that
/// no program has removed it; this, that nobody has by hand.
fn has_root(index: &Index, store: &LocalStore) -> Result<bool, SnapshotError> {
    match index.block(index.root, &mut Vec::new()) {
        Some(root) => Ok(store.contains(&root.head.tree)?),
        None => Ok(false),
    }
}

/// What came out of a walk.
struct Outcome {
    root: Done,
    warnings: Vec<Warning>,
    next_index: IndexWriter,
    index_changed: bool,
}

fn run(
    source: &Path,
    options: &SnapshotOptions,
    progress: &dyn Progress,
    objects: &impl Objects,
    index: Option<Index>,
    store_unchanged: bool,
) -> Result<Outcome, SnapshotError> {
    let (walker, entered) = Walker::start(source, options)?;
    let block = index.as_ref().map(|index| index.root);
    let job = Job {
        walker,
        objects,
        progress,
        index,
        store_unchanged,
        next_index: IndexWriter::new(),
        index_changed: (!store_unchanged).into(),
        sizes: LargeDirectories::new(options.limits),
        result: Mutex::default(),
    };
    queue::run(
        options.threads(),
        Task::Source { entered, block },
        job::Buffers::default,
        |buffers, task, queue| job.handle(buffers, task, queue),
    )?;
    let root = job.result.into_inner().unwrap_or_else(PoisonError::into_inner);
    let root = root.expect("the source is done when every task is");
    let limits = job.sizes.check(root.size, job.walker.ignore_file())?;
    let mut warnings = job.walker.into_warnings();
    warnings.extend(limits.into_iter().map(Warning::Limit));
    Ok(Outcome {
        root,
        warnings,
        next_index: job.next_index,
        index_changed: job.index_changed.load(Ordering::Relaxed),
    })
}
