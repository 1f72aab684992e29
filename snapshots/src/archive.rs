//! Packs: many objects in one stream, each with its digest and length.
//!
//! The same form is used on the wire and for the pack files of a store, version 1:
//!
//! ```text
//! "trainyard pack 1\n"                            magic and version
//! per object:
//!     encoding   u8      1 as it is, 2 one zstd frame
//!     digest     32 bytes, of the object's own bytes
//!     length     u64 LE, of the object's own bytes
//!     stored     u64 LE, of the bytes that follow (equal to `length` for encoding 1)
//!     bytes
//! end marker:
//!     0          u8
//!     count      u64 LE, of the objects before it
//! ```
//!
//! What comes over a wire may be anything: [`ArchiveReader`] holds no more than the size of a
//! small object in memory, checks every digest of those, and ends at the first byte that is wrong.

mod entry;
mod reader;
mod writer;

use std::io;

pub use entry::Encoding;
pub(crate) use entry::{EntryHeader, HEADER_BYTES, MAGIC, end_marker};
pub use reader::{ArchiveReader, ArchivedObject, Content, Limits};
pub use writer::ArchiveWriter;

use crate::digest::Digest;

/// Why a stream is not a pack, or not one that is taken.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The first bytes are not those of a pack of a version that is known here.
    #[error("not a pack of objects, or one of a version not known to this program")]
    Version,
    /// The stream ends before the pack does. What came before is sound.
    #[error("the pack ends in the middle, after {objects} objects")]
    Truncated {
        /// How many whole objects came before.
        objects: u64,
    },
    /// Something in the pack contradicts itself.
    #[error("malformed pack: {what}, after {objects} objects")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// How many whole objects came before.
        objects: u64,
    },
    /// The pack has more of something than is taken.
    #[error("the pack has more than {most} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The most that is taken.
        most: u64,
    },
    /// An object has not the digest that the pack says.
    #[error("content said to be {expected} is {actual}")]
    Mismatch {
        /// The digest that was said.
        expected: Digest,
        /// The digest it has.
        actual: Digest,
    },
    /// The stream cannot be read.
    #[error("cannot read a pack, after {objects} objects")]
    Read {
        /// How many whole objects came before.
        objects: u64,
        /// What the stream answered.
        source: io::Error,
    },
}

impl ArchiveError {
    /// Returns whether the stream broke off, as opposed to being wrong: then what came is sound,
    /// and asking again for the rest makes sense.
    #[must_use]
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Truncated { .. } | Self::Read { .. })
    }
}
