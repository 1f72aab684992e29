//! Taking a snapshot: walk, index, hash, store.

mod record;

pub use record::SnapshotRecord;

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
