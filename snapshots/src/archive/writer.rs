//! Writing packs.

use std::io::{self, Read, Write};

use super::{Encoding, EntryHeader, MAGIC, end_marker};
use crate::digest::Digest;

/// The level of compression: the fastest.
const LEVEL: i32 = 1;

/// Returns an object as one zstd frame; nothing when that gains nothing, or so much that a reader
/// would take it for an attack.
pub(crate) fn compressed(bytes: &[u8]) -> Option<Vec<u8>> {
    let stored = zstd::bulk::compress(bytes, LEVEL).ok()?;
    let (length, short) = (bytes.len() as u64, stored.len() as u64);
    (short < length && !super::reader::is_suspicious(length, short)).then_some(stored)
}

/// Writes objects, one after the other, to a stream.
pub struct ArchiveWriter<W> {
    out: W,
    objects: u64,
}

impl<W: Write> ArchiveWriter<W> {
    /// Starts a pack.
    ///
    /// # Errors
    ///
    /// What `out` answers.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        Ok(Self { out, objects: 0 })
    }

    /// Adds an object, as it is or, where that pays, compressed.
    ///
    /// # Errors
    ///
    /// What the stream answers.
    pub fn add(&mut self, digest: Digest, bytes: &[u8], encoding: Encoding) -> io::Result<()> {
        let length = bytes.len() as u64;
        let compressed = match encoding {
            Encoding::Plain => None,
            Encoding::Zstd => compressed(bytes),
        };
        let (encoding, stored) = match &compressed {
            Some(stored) => (Encoding::Zstd, stored.as_slice()),
            None => (Encoding::Plain, bytes),
        };
        self.head(EntryHeader { encoding, digest, length, stored: stored.len() as u64 })?;
        self.out.write_all(stored)
    }

    /// Adds an object of exactly `length` bytes from a stream, as it is.
    ///
    /// # Errors
    ///
    /// What either stream answers, or [`io::ErrorKind::UnexpectedEof`] when `from` is shorter.
    pub fn add_stream(
        &mut self,
        digest: Digest,
        length: u64,
        from: &mut dyn Read,
    ) -> io::Result<()> {
        self.start_stream(digest, length)?;
        match io::copy(&mut from.take(length), &mut self.out)? {
            copied if copied == length => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Ends the pack and gives the stream back.
    ///
    /// # Errors
    ///
    /// What the stream answers.
    pub fn finish(mut self) -> io::Result<W> {
        self.end()?;
        Ok(self.out)
    }

    /// Writes the header of an object whose bytes the caller writes as they are.
    pub(crate) fn start_stream(&mut self, digest: Digest, length: u64) -> io::Result<()> {
        self.head(EntryHeader { encoding: Encoding::Plain, digest, length, stored: length })
    }

    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.out.write_all(&end_marker(self.objects))
    }

    pub(crate) fn stream(&mut self) -> &mut W {
        &mut self.out
    }

    fn head(&mut self, header: EntryHeader) -> io::Result<()> {
        self.objects += 1;
        self.out.write_all(&header.encode())
    }
}
