//! Reading packs that anybody may have made.

use std::io::{self, BufReader, Read};

use super::entry::END;
use super::{ArchiveError, Encoding, EntryHeader, HEADER_BYTES, MAGIC};
use crate::digest::Digest;
use crate::store::LARGE_OBJECT_BYTES;

/// How many times its stored length an object may have: more is taken for an attack.
const MOST_RATIO: u64 = 1000;
/// zstd windows of up to 8 MiB are taken, which is what a decoder then needs.
const WINDOW_LOG: u32 = 23;

/// How much is taken from one pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest object.
    pub object_bytes: u64,
    /// The sum of all objects' lengths.
    pub total_bytes: u64,
    /// How many objects.
    pub objects: u64,
}

impl Default for Limits {
    /// As much as the largest snapshot that is taken by default, twice over.
    fn default() -> Self {
        Self { object_bytes: 40 << 30, total_bytes: 40 << 30, objects: 4_000_000 }
    }
}

/// Returns whether an object is compressed better than anybody means to.
pub(super) fn is_suspicious(length: u64, stored: u64) -> bool {
    length / MOST_RATIO > stored
}

/// Reads the objects of a pack, one after the other.
pub struct ArchiveReader<R> {
    from: R,
    limits: Limits,
    objects: u64,
    total: u64,
    /// How many bytes of the last object were not read yet.
    pending: u64,
}

/// An object of a pack.
pub struct ArchivedObject<'a> {
    /// The digest it is said to have.
    pub digest: Digest,
    /// The length it has.
    pub length: u64,
    /// Its bytes.
    pub content: Content<'a>,
}

/// The bytes of an object.
pub enum Content<'a> {
    /// Those of a small object; they have its digest.
    Bytes(Vec<u8>),
    /// Those of a large object, to be read to the end; the caller checks the digest. It gives
    /// exactly as many bytes as were said or fails.
    Stream(Box<dyn Read + 'a>),
}

impl<R: Read> ArchiveReader<R> {
    /// Starts reading a pack.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Version`]: it is something else.
    pub fn new(from: R, limits: Limits) -> Result<Self, ArchiveError> {
        let mut reader = Self { from, limits, objects: 0, total: 0, pending: 0 };
        let mut magic = [0; MAGIC.len()];
        reader.fill(&mut magic)?;
        if magic == *MAGIC { Ok(reader) } else { Err(ArchiveError::Version) }
    }

    /// Returns the next object, or `None` after the last.
    ///
    /// # Errors
    ///
    /// [`ArchiveError`]; do not read on. Unless it [is an interruption], reject the whole pack.
    ///
    /// [is an interruption]: ArchiveError::is_interruption
    #[expect(clippy::should_implement_trait, reason = "an object borrows the reader")]
    pub fn next(&mut self) -> Result<Option<ArchivedObject<'_>>, ArchiveError> {
        if self.pending > 0 {
            return Err(self.malformed("bytes behind the end of an object"));
        }
        let mut head = [0; HEADER_BYTES];
        self.fill(&mut head[..1])?;
        if head[0] == END {
            return self.end().map(|()| None);
        }
        self.fill(&mut head[1..])?;
        let Some(header) = EntryHeader::decode(&head) else {
            return Err(self.malformed("an object's header"));
        };
        self.admit(&header)?;
        let EntryHeader { digest, length, .. } = header;
        let content = if length < LARGE_OBJECT_BYTES {
            Content::Bytes(self.small(&header)?)
        } else {
            self.pending = header.stored;
            self.objects += 1;
            Content::Stream(self.large(&header)?)
        };
        Ok(Some(ArchivedObject { digest, length, content }))
    }

    /// Counts an object against the limits.
    fn admit(&mut self, header: &EntryHeader) -> Result<(), ArchiveError> {
        let limit = |what, most| Err(ArchiveError::Limit { what, most });
        self.total = self.total.saturating_add(header.length);
        if self.objects >= self.limits.objects {
            limit("objects", self.limits.objects)
        } else if header.length > self.limits.object_bytes {
            limit("bytes in one object", self.limits.object_bytes)
        } else if self.total > self.limits.total_bytes {
            limit("bytes in all", self.limits.total_bytes)
        } else if is_suspicious(header.length, header.stored) {
            limit("times the stored length in an object", MOST_RATIO)
        } else if header.encoding == Encoding::Zstd && header.stored > header.length {
            Err(self.malformed("an object that compression made longer"))
        } else {
            Ok(())
        }
    }

    fn small(&mut self, header: &EntryHeader) -> Result<Vec<u8>, ArchiveError> {
        // Both lengths are under that of a large object here.
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        let mut stored = vec![0; usize::try_from(header.stored).unwrap_or(usize::MAX)];
        self.fill(&mut stored)?;
        let bytes = match header.encoding {
            Encoding::Plain => stored,
            Encoding::Zstd => zstd::bulk::decompress(&stored, length)
                .map_err(|_| self.malformed("an object that cannot be decompressed"))?,
        };
        if bytes.len() != length {
            return Err(self.malformed("an object of another length"));
        }
        let actual = Digest::of(&bytes);
        if actual != header.digest {
            return Err(ArchiveError::Mismatch { expected: header.digest, actual });
        }
        self.objects += 1;
        Ok(bytes)
    }

    fn large(&mut self, header: &EntryHeader) -> Result<Box<dyn Read + '_>, ArchiveError> {
        let objects = self.objects;
        let stored = Pending { from: &mut self.from, left: &mut self.pending };
        let left = header.length;
        Ok(match header.encoding {
            Encoding::Plain => Box::new(Exact { from: stored, left }),
            Encoding::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(BufReader::new(stored))
                    .and_then(|mut decoder| decoder.window_log_max(WINDOW_LOG).map(|()| decoder))
                    .map_err(|source| ArchiveError::Read { objects, source })?;
                Box::new(Exact { from: decoder.single_frame(), left })
            }
        })
    }

    fn end(&mut self) -> Result<(), ArchiveError> {
        let mut count = [0; 8];
        self.fill(&mut count)?;
        if u64::from_le_bytes(count) != self.objects {
            return Err(self.malformed("another number of objects than it says at its end"));
        }
        match self.from.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.malformed("bytes behind its end")),
            Err(source) => Err(ArchiveError::Read { objects: self.objects, source }),
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        let objects = self.objects;
        self.from.read_exact(buffer).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => ArchiveError::Truncated { objects },
            _ => ArchiveError::Read { objects, source },
        })
    }

    fn malformed(&self, what: &'static str) -> ArchiveError {
        ArchiveError::Malformed { what, objects: self.objects }
    }
}

/// The stored bytes of a large object.
struct Pending<'a, R> {
    from: &'a mut R,
    left: &'a mut u64,
}

impl<R: Read> Read for Pending<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.by_ref().take(*self.left).read(buffer)?;
        if read == 0 && *self.left > 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *self.left -= read as u64;
        Ok(read)
    }
}

/// A stream that must have exactly so many bytes.
struct Exact<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "an object of another length");
        let read = self.from.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(wrong)?;
        if read == 0 && self.left > 0 && !buffer.is_empty() { Err(wrong()) } else { Ok(read) }
    }
}
