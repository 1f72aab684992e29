//! A large object being written, in a temporary file.

use std::io::Write;
use std::num::NonZeroU64;
use std::path::Path;

use rustix::fs::{Advice, fadvise};
use tempfile::NamedTempFile;

use super::durable;
use crate::digest::{Digest, Hasher};
use crate::path_error::{IoContext, PathError};

/// How much is hashed and written at a time: it stays in the processor's cache between the two.
const CHUNK_BYTES: usize = 256 << 10;

/// How much is gathered before the disk starts on it.
const WRITE_OUT_BYTES: u64 = 8 << 20;

/// Hashes an object and writes it, while the disk is busy with what came before.
pub(super) struct LargeWriter {
    file: NamedTempFile,
    hasher: Hasher,
    length: u64,
    /// Up to where the disk was told to write.
    written_out: u64,
}

impl LargeWriter {
    pub(super) fn new(temporary: &Path) -> Result<Self, PathError> {
        let file = durable::temporary_file(temporary)?;
        Ok(Self { file, hasher: Hasher::new(), length: 0, written_out: 0 })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), PathError> {
        for chunk in bytes.chunks(CHUNK_BYTES) {
            self.hasher.update(chunk);
            self.file.write_all(chunk).context("write", self.file.path())?;
            self.length += chunk.len() as u64;
        }
        if self.length - self.written_out >= WRITE_OUT_BYTES {
            self.write_out();
        }
        Ok(())
    }

    /// Lets the disk start on what is in memory only, so that the sync at the end finds little
    /// left to wait for.
    ///
    /// What is not on the disk yet cannot be forgotten: being told that it is not needed, Linux
    /// begins to write it and keeps it. Elsewhere the advice does nothing, and nothing is lost
    /// where it is not taken.
    fn write_out(&mut self) {
        let length = NonZeroU64::new(self.length - self.written_out);
        let _advice = fadvise(&self.file, self.written_out, length, Advice::DontNeed);
        self.written_out = self.length;
    }

    /// Returns the object's digest, its length and its file, which is not synced.
    pub(super) fn finish(self) -> (Digest, u64, NamedTempFile) {
        (self.hasher.finish(), self.length, self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_length_end_up_in_the_file_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..=250).cycle().take(20 << 20).collect();
        let mut writer = LargeWriter::new(directory.path()).unwrap();
        let mut rest = &bytes[..];
        for length in [0, 1, CHUNK_BYTES + 1, 9 << 20, 3, bytes.len()] {
            let (piece, after) = rest.split_at(length.min(rest.len()));
            writer.write(piece).unwrap();
            rest = after;
        }

        assert_eq!(writer.written_out, writer.length, "the last piece was a long one");
        let (digest, length, file) = writer.finish();

        assert_eq!((digest, length), (Digest::of(&bytes), bytes.len() as u64));
        assert!(std::fs::read(file.path()).unwrap() == bytes);
    }
}
