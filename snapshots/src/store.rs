//! The object store: blobs and trees by digest.
//!
//! This file is the border; [`local::LocalStore`] is what keeps objects on a disk.

pub mod local;

use std::io;

use crate::digest::Digest;
use crate::path_error::PathError;

/// Objects of this size and more are kept as single files, smaller ones in packs.
pub const LARGE_OBJECT_BYTES: u64 = 4 << 20;

/// Why an object could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store has no such object.
    #[error("object {digest} is not in the store")]
    Missing {
        /// The object's name.
        digest: Digest,
    },
    /// The store's copy does not have the digest it is kept under. Uploading the content again
    /// heals it.
    #[error("object {digest} is damaged: its content has another digest")]
    Damaged {
        /// The object's name.
        digest: Digest,
    },
    /// Content that was handed in does not have the digest it was said to have.
    #[error("content said to be {expected} is {actual}")]
    Mismatch {
        /// The digest that was said.
        expected: Digest,
        /// The digest it has.
        actual: Digest,
    },
    /// The store was written by a newer program.
    #[error(
        "the store in {path:?} has version {found}, newer than this program's {known}: use the newer trainyard"
    )]
    Version {
        /// The store's directory.
        path: std::path::PathBuf,
        /// The version found.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// The file system said no.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A stream of content could not be read or written.
    #[error("cannot copy the content of an object")]
    Stream {
        /// What the stream answered.
        source: io::Error,
    },
}
