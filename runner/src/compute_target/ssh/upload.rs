//! Sending a snapshot to a machine: only what it lacks, in one stream.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use snapshots::digest::Digest;
use snapshots::snapshot::SnapshotRecord;
use snapshots::store::StoreError;
use snapshots::store::local::LocalStore;
use snapshots::transfer::{self, Destination, Sent, TransferError};

use super::pool::Client;
use crate::remote::client::RemoteError;
use crate::remote::message::{Done, Finished, Request};

/// How much is read at once.
const PIECE: usize = 256 << 10;

/// How many pieces are read ahead of what is sent.
const AHEAD: usize = 16;

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
        let (client, cancelled) = (&mut *self.client, self.cancelled);
        // Two threads: objects are read and checked in this one while those before them are
        // compressed and sent in the other.
        let sent = thread::scope(|scope| {
            let (pieces, ahead) = sync_channel(AHEAD);
            let sending = scope.spawn(move || {
                client.send::<Done>(
                    &Request::Pack,
                    &mut Ahead { pieces: ahead, piece: Vec::new(), at: 0 },
                )
            });
            read_ahead(pack, &pieces, cancelled);
            drop(pieces);
            sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
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

/// A piece; an empty one is the end, without which what came is not whole.
type Piece = io::Result<Vec<u8>>;

/// Reads `from` to its end, or until nobody wants to know.
/// What is cancelled breaks off.
fn read_ahead(mut from: &mut dyn Read, to: &SyncSender<Piece>, cancelled: &AtomicBool) {
    loop {
        if cancelled.load(Ordering::Relaxed) {
            let _heard = to.send(Err(io::Error::other("cancelled")));
            return;
        }
        let mut piece = Vec::with_capacity(PIECE);
        let read = Read::take(&mut from, PIECE as u64).read_to_end(&mut piece);
        let is_last = !matches!(read, Ok(length) if length > 0);
        if to.send(read.map(|_| piece)).is_err() || is_last {
            return;
        }
    }
}

struct Ahead {
    pieces: Receiver<Piece>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Ahead {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            self.piece = self.pieces.recv().map_err(|_| io::ErrorKind::BrokenPipe)??;
            self.at = 0;
            if self.piece.is_empty() {
                return Ok(0);
            }
        }
        let length = bytes.len().min(self.piece.len() - self.at);
        bytes[..length].copy_from_slice(&self.piece[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives some bytes and then fails.
    struct Breaking(usize);

    impl Read for Breaking {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let length = bytes.len().min(self.0);
            self.0 -= length;
            Ok(length)
        }
    }

    fn through(from: &mut dyn Read) -> io::Result<Vec<u8>> {
        thread::scope(|scope| {
            let (pieces, ahead) = sync_channel(AHEAD);
            let reading = scope.spawn(move || {
                let mut all = Vec::new();
                let mut ahead = Ahead { pieces: ahead, piece: Vec::new(), at: 0 };
                ahead.read_to_end(&mut all).map(|_| all)
            });
            read_ahead(from, &pieces, &AtomicBool::new(false));
            drop(pieces);
            reading.join().unwrap()
        })
    }

    #[test]
    fn what_is_read_ahead_arrives_as_it_was() {
        let bytes: Vec<u8> = (0..AHEAD * PIECE * 2 + 17).map(|n| n.to_le_bytes()[0]).collect();
        assert!(through(&mut bytes.as_slice()).unwrap() == bytes);
        assert!(through(&mut io::empty()).unwrap().is_empty());
    }

    #[test]
    fn what_breaks_off_is_not_taken_for_the_end() {
        let error = through(&mut Breaking(PIECE + 1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn who_reads_ahead_stops_when_nobody_listens() {
        let (pieces, ahead) = sync_channel(1);
        drop(ahead);
        read_ahead(&mut io::repeat(1), &pieces, &AtomicBool::new(false));
    }
}
