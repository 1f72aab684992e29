//! A large object being read by whoever checks nothing: its end says whether it was sound.

use std::fs::File;
use std::io::{self, Read};

use super::LocalStore;
use crate::digest::{Digest, Hasher};

/// Gives an object's bytes, and at their end an error with a [`StoreError`](crate::store::StoreError)
/// in it when they are not those that the digest stands for.
pub(crate) struct LargeReader {
    store: LocalStore,
    digest: Digest,
    file: File,
    /// `None` once the end was judged.
    hasher: Option<Hasher>,
    left: u64,
}

impl LargeReader {
    pub(super) fn new(store: LocalStore, digest: Digest, file: File, length: u64) -> Self {
        Self { store, digest, file, hasher: Some(Hasher::new()), left: length }
    }
}

impl Read for LargeReader {
    /// A damaged object is never given whole: its last bytes are held back.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(hasher) = &mut self.hasher else { return Ok(0) };
        if out.is_empty() {
            return Ok(0);
        }
        let read = self.file.read(out)?;
        hasher.update(&out[..read]);
        self.left = self.left.saturating_sub(read as u64);
        if read > 0 && self.left > 0 {
            return Ok(read);
        }
        let actual = self.hasher.take().map(Hasher::finish);
        if actual == Some(self.digest) {
            return Ok(read);
        }
        Err(io::Error::other(self.store.damaged(&self.digest).unwrap_or_else(|error| error)))
    }
}
