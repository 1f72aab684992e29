//! Moving a snapshot to another store: only what that store lacks travels.
//!
//! ```text
//! sender                                            receiver
//! missing [root]                             ──▶
//!                                            ◀──    those it lacks
//! missing [subtrees and blobs of those] …    ──▶    one round a level, in batches
//! one pack: blobs, then trees from below     ──▶    every digest checked
//! finish [record]                            ──▶    the whole snapshot is there, or what lacks
//! ```
//!
//! A tree that the receiver has is not descended into: whoever stored it stored what it refers to
//! first. That can be wrong after clean-up or damage, so `finish` looks at the whole snapshot, and
//! on [`TransferError::Incomplete`] the sender asks about every object once.
//!
//! Interrupted at any byte, what had come whole is kept, and sending again moves only the rest.

mod pack_stream;
mod plan;
mod receiver;

use std::io::Read;

pub use receiver::{Receiver, receive_pack};

use self::pack_stream::PackStream;
use self::plan::Asked;
use crate::archive::ArchiveError;
use crate::digest::Digest;
use crate::snapshot::SnapshotRecord;
use crate::store::StoreError;
use crate::store::local::LocalStore;

/// The most digests that a [`Destination`] is asked about at once.
pub const BATCH: usize = 16_384;

/// A store that a snapshot is sent to, wherever it is.
pub trait Destination {
    /// Returns those of at most [`BATCH`] digests that are not there.
    ///
    /// # Errors
    ///
    /// [`TransferError`]: it cannot tell.
    fn missing(&mut self, digests: &[Digest]) -> Result<Vec<Digest>, TransferError>;

    /// Stores the objects of a pack, of the form of [`crate::archive`].
    ///
    /// # Errors
    ///
    /// [`TransferError`]: not all of them are stored.
    fn put_pack(&mut self, pack: &mut dyn Read) -> Result<(), TransferError>;

    /// Stores the record, after a look at whether the whole snapshot is there.
    ///
    /// # Errors
    ///
    /// [`TransferError::Incomplete`] names what is not.
    fn finish(&mut self, record: &SnapshotRecord) -> Result<(), TransferError>;
}

/// Why a snapshot was not moved.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// One of the stores could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pack was not taken.
    #[error("cannot take the objects that were sent")]
    Archive(#[from] ArchiveError),
    /// Not everything is there yet.
    #[error("{} objects of the snapshot have not arrived", missing.len())]
    Incomplete {
        /// What is not there, or damaged; what it refers to is not looked at.
        missing: Vec<Digest>,
    },
    /// The record is of a form that this program does not know.
    #[error("the snapshot's record has version {found}, newer than this program's {known}")]
    Record {
        /// The record's version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// The other side could not be reached, or said no.
    #[error("cannot send the snapshot")]
    Remote {
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Hears how far a transfer has come.
pub trait Progress {
    /// So much will be sent in all.
    fn planned(&self, objects: u64, bytes: u64);
    /// So many bytes more were sent.
    fn sent(&self, bytes: u64);
}

/// Nobody listens.
impl Progress for () {
    fn planned(&self, _: u64, _: u64) {}
    fn sent(&self, _: u64) {}
}

/// What travelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// How many objects.
    pub objects: u64,
    /// Their own bytes.
    pub bytes: u64,
    /// How many times the other side was asked for something.
    pub round_trips: u64,
}

/// Sends a snapshot with everything it refers to.
///
/// # Errors
///
/// [`TransferError`]; what arrived is kept, and sending again moves only the rest.
pub fn send(
    from: &LocalStore,
    record: &SnapshotRecord,
    to: &mut dyn Destination,
    progress: &dyn Progress,
) -> Result<Sent, TransferError> {
    let _lease = from.lease()?;
    let mut sent = Sent::default();
    for asked in [Asked::UnderMissingTrees, Asked::Everything] {
        let wanted = plan::wanted(from, &record.id, to, asked, &mut sent.round_trips)?;
        if !wanted.is_empty() {
            let bytes = wanted.iter().map(|object| object.length).sum();
            progress.planned(wanted.len() as u64, bytes);
            sent.round_trips += 1;
            let mut pack = PackStream::new(from, &wanted, progress);
            let put = to.put_pack(&mut pack);
            if let Err(error) = put {
                // To the other side, what is damaged here is a stream that broke off, or is wrong.
                return Err(pack.into_failure().map_or(error, TransferError::from));
            }
            sent.objects += wanted.len() as u64;
            sent.bytes += bytes;
        }
        sent.round_trips += 1;
        match to.finish(record) {
            Err(TransferError::Incomplete { missing }) if asked == Asked::UnderMissingTrees => {
                tracing::debug!(missing = missing.len(), "Asking about every object.");
            }
            finished => return finished.map(|()| sent),
        }
    }
    Ok(sent)
}
