//! Sending a snapshot to a machine: only what it lacks, in one stream.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use snapshots::digest::Digest;
use snapshots::snapshot::SnapshotRecord;
use snapshots::store::StoreError;
use snapshots::store::local::LocalStore;
use snapshots::transfer::{self, Destination, Sent, TransferError};

use super::pool::Client;
use crate::remote::client::RemoteError;
use crate::remote::message::{Done, Finished, Request};

/// Why a snapshot did not get there.
#[derive(Debug)]
pub(super) enum NotSent {
    /// The machine.
    Remote(RemoteError),
    /// The store at home.
    Home(TransferError),
}

/// Sends the snapshot `id` of `objects`, until `cancelled` is set.
///
/// # Errors
///
/// [`NotSent`]; what arrived is kept there, and sending again sends only the rest.
pub(super) fn send(
    objects: &LocalStore,
    id: &Digest,
    client: &mut Client,
    cancelled: &AtomicBool,
) -> Result<Sent, NotSent> {
    let home = |error: StoreError| NotSent::Home(error.into());
    let record = objects.record(id).map_err(home)?;
    let record = record.ok_or_else(|| {
        let missing = vec![*id];
        NotSent::Home(TransferError::Incomplete { missing })
    })?;
    let mut store = RemoteStore { client, cancelled, failure: None };
    let sent = transfer::send(objects, &record, &mut store, &());
    match (sent, store.failure) {
        (Ok(sent), _) => Ok(sent),
        (Err(TransferError::Remote { .. }), Some(error)) => Err(NotSent::Remote(error)),
        (Err(error), _) => Err(NotSent::Home(error)),
    }
}

/// The object store of a machine.
struct RemoteStore<'a> {
    client: &'a mut Client,
    cancelled: &'a AtomicBool,
    failure: Option<RemoteError>,
}

impl RemoteStore<'_> {
    /// Keeps why something was not answered.
    fn answered<T>(&mut self, answer: Result<T, RemoteError>) -> Result<T, TransferError> {
        answer.map_err(|error| {
            let source = error.to_string().into();
            self.failure = Some(error);
            TransferError::Remote { source }
        })
    }
}

impl Destination for RemoteStore<'_> {
    fn missing(&mut self, digests: &[Digest]) -> Result<Vec<Digest>, TransferError> {
        let missing = self.client.ask(&Request::Missing { digests: digests.to_vec() });
        self.answered(missing)
    }

    fn put_pack(&mut self, pack: &mut dyn Read) -> Result<(), TransferError> {
        let mut bytes = Cancellable { from: pack, cancelled: self.cancelled };
        let sent = self.client.send::<Done>(&Request::Pack, &mut bytes);
        self.answered(sent).map(|Done {}| ())
    }

    fn finish(&mut self, record: &SnapshotRecord) -> Result<(), TransferError> {
        let finished = self.client.ask(&Request::Finish { record: record.clone() });
        match self.answered(finished)? {
            Finished::Kept => Ok(()),
            Finished::Incomplete { missing } => Err(TransferError::Incomplete { missing }),
        }
    }
}

/// Breaks off once it is cancelled.
struct Cancellable<'a> {
    from: &'a mut dyn Read,
    cancelled: &'a AtomicBool,
}

impl Read for Cancellable<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other("cancelled"));
        }
        self.from.read(bytes)
    }
}
