//! The receiving side, in the process that has the store.

use std::io::Read;

use super::{Destination, TransferError};
use crate::archive::{ArchiveError, ArchiveReader, Content, Limits};
use crate::digest::Digest;
use crate::snapshot::SnapshotRecord;
use crate::store::local::{LocalStore, StoreWriter, Written};

/// Receives snapshots into a store.
pub struct Receiver {
    store: LocalStore,
    limits: Limits,
}

impl Receiver {
    /// Receives into `store`, no more than `limits` with each pack.
    #[must_use]
    pub fn new(store: LocalStore, limits: Limits) -> Self {
        Self { store, limits }
    }
}

impl Destination for Receiver {
    fn missing(&mut self, digests: &[Digest]) -> Result<Vec<Digest>, TransferError> {
        Ok(self.store.missing(digests)?)
    }

    fn put_pack(&mut self, pack: &mut dyn Read) -> Result<(), TransferError> {
        receive_pack(&self.store, pack, self.limits).map(drop)
    }

    /// A snapshot that has a record already was whole then, and clean-up leaves it whole; only
    /// damage makes another look worth while.
    fn finish(&mut self, record: &SnapshotRecord) -> Result<(), TransferError> {
        if record.version > SnapshotRecord::VERSION {
            let known = SnapshotRecord::VERSION;
            return Err(TransferError::Record { found: record.version, known });
        }
        let _lease = self.store.lease()?;
        let known = self.store.record(&record.id)?.is_some() && !self.store.has_damage()?;
        if !known {
            let reach = self.store.reach([record.id])?;
            let unreadable = reach.unreadable().to_vec();
            let missing = self.store.missing(&reach.into_objects())?;
            if !missing.is_empty() {
                return Err(TransferError::Incomplete { missing });
            }
            // What is there and still unreadable is no tree.
            for digest in unreadable {
                self.store.read_tree(&digest)?;
            }
        }
        Ok(self.store.put_record(record)?)
    }
}

/// Stores the objects of a pack, each checked against its digest, all at once at its end.
///
/// A pack that is wrong anywhere is rejected whole. One that breaks off leaves what had come.
///
/// # Errors
///
/// [`TransferError::Archive`]: send it again, or only what is missing then.
pub fn receive_pack(
    store: &LocalStore,
    pack: &mut dyn Read,
    limits: Limits,
) -> Result<Written, TransferError> {
    let mut writer = store.writer()?;
    match receive(&mut writer, pack, limits) {
        Ok(()) => Ok(writer.commit()?),
        Err(TransferError::Archive(error)) if error.is_interruption() => {
            writer.commit()?;
            Err(error.into())
        }
        Err(error) => Err(error),
    }
}

fn receive(
    writer: &mut StoreWriter,
    pack: &mut dyn Read,
    limits: Limits,
) -> Result<(), TransferError> {
    let mut reader = ArchiveReader::new(pack, limits)?;
    let mut objects = 0;
    while let Some(object) = reader.next()? {
        match object.content {
            Content::Bytes(bytes) => {
                writer.put(object.digest, &bytes)?;
            }
            Content::Stream(mut stream) => {
                let put = writer.put_large(&mut stream);
                let (actual, ..) = put.map_err(|error| interruption(error, objects))?;
                if actual != object.digest {
                    let expected = object.digest;
                    return Err(ArchiveError::Mismatch { expected, actual }.into());
                }
            }
        }
        objects += 1;
    }
    Ok(())
}

/// Tells a stream that broke off, or was wrong, from a store that did not take it.
fn interruption(error: crate::store::StoreError, objects: u64) -> TransferError {
    match error {
        crate::store::StoreError::Stream { source } => match source.kind() {
            std::io::ErrorKind::UnexpectedEof => ArchiveError::Truncated { objects }.into(),
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::Other => {
                ArchiveError::Malformed { what: "a large object", objects }.into()
            }
            _ => ArchiveError::Read { objects, source }.into(),
        },
        error => error.into(),
    }
}
