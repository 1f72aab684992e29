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

mod entry;

pub use entry::Encoding;
pub(crate) use entry::{EntryHeader, HEADER_BYTES, MAGIC, end_marker};
