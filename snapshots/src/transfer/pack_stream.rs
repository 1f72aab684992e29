//! A pack that is made while it is read, so that none is ever held or written.

use std::fs::File;
use std::io::{self, Read};

use super::Progress;
use super::plan::Wanted;
use crate::archive::{ArchiveWriter, Encoding};
use crate::digest::Digest;
use crate::store::local::LocalStore;
use crate::store::{LARGE_OBJECT_BYTES, StoreError};

/// How much is made ahead of the reader.
const AHEAD_BYTES: usize = 256 << 10;

/// A large object that is being given.
struct Large {
    digest: Digest,
    file: File,
    left: u64,
}

pub(super) struct PackStream<'a> {
    store: &'a LocalStore,
    rest: std::slice::Iter<'a, Wanted>,
    progress: &'a dyn Progress,
    pack: ArchiveWriter<Vec<u8>>,
    /// How much of the pack's buffer was read.
    at: usize,
    large: Option<Large>,
    /// The large objects that were given whole, unchecked.
    unchecked: Vec<Digest>,
    ended: bool,
    failure: Option<StoreError>,
}

impl<'a> PackStream<'a> {
    pub(super) fn new(
        store: &'a LocalStore,
        wanted: &'a [Wanted],
        progress: &'a dyn Progress,
    ) -> Self {
        let pack = ArchiveWriter::new(Vec::new()).expect("a vector takes every byte");
        Self {
            store,
            rest: wanted.iter(),
            progress,
            pack,
            at: 0,
            large: None,
            unchecked: Vec::new(),
            ended: false,
            failure: None,
        }
    }

    /// Returns what is wrong with the store that the objects came from, once they were not taken.
    ///
    /// Whoever takes them checks them anyway, so that large ones are not checked twice as they
    /// stream, but here, if it comes to that.
    pub(super) fn into_failure(self) -> Option<StoreError> {
        let damage = || self.unchecked.iter().find_map(|digest| self.store.check(digest).err());
        self.failure.or_else(damage)
    }

    /// Puts the next objects into the buffer, which is empty.
    fn refill(&mut self) -> io::Result<()> {
        self.pack.stream().clear();
        self.at = 0;
        while self.pack.stream().len() < AHEAD_BYTES && self.large.is_none() && !self.ended {
            let Some(object) = self.rest.next() else {
                self.ended = true;
                return self.pack.end();
            };
            if object.length < LARGE_OBJECT_BYTES {
                let bytes = self.store.read(&object.digest).map_err(io::Error::other)?;
                self.pack.add(object.digest, &bytes, Encoding::Plain)?;
            } else {
                let Wanted { digest, length } = *object;
                let file = self.store.open_large(&digest).map_err(io::Error::other)?;
                self.pack.start_stream(digest, length)?;
                self.large = Some(Large { digest, file, left: length });
            }
        }
        Ok(())
    }

    fn give(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            let ready = &self.pack.stream()[self.at..];
            if !ready.is_empty() {
                let length = ready.len().min(out.len());
                out[..length].copy_from_slice(&ready[..length]);
                self.at += length;
                self.progress.sent(length as u64);
                return Ok(length);
            }
            if let Some(large) = &mut self.large {
                let length = large.file.by_ref().take(large.left).read(out)?;
                large.left -= length as u64;
                self.progress.sent(length as u64);
                let Large { digest, left, .. } = *large;
                if left == 0 {
                    self.unchecked.push(digest);
                    self.large = None;
                } else if length == 0 {
                    let shorter = self.store.check(&digest).err();
                    let shorter = shorter.unwrap_or(StoreError::Damaged { digest });
                    return Err(io::Error::other(shorter));
                }
                return Ok(length);
            }
            if self.ended {
                return Ok(0);
            }
            self.refill()?;
        }
    }
}

impl Read for PackStream<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.give(out).map_err(|error| match error.downcast::<StoreError>() {
            Ok(failure) => {
                let broken = io::Error::new(io::ErrorKind::BrokenPipe, failure.to_string());
                self.failure = Some(failure);
                broken
            }
            Err(error) => error,
        })
    }
}
