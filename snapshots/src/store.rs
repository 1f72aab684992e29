//! The object store: blobs and trees by digest.
//!
//! This file is the border; [`local::LocalStore`] is what keeps objects on a disk.

pub mod local;

use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::path_error::PathError;
use crate::tree::TreeError;

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
    /// The object is sound, but it is not a directory's listing.
    #[error("object {digest} is not a tree")]
    NotATree {
        /// The object's name.
        digest: Digest,
        /// What is wrong with it.
        source: TreeError,
    },
    /// A snapshot's record is not one this program can read.
    #[error("cannot read the snapshot record in {path:?}")]
    Record {
        /// The record's file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The store was written by a newer program.
    #[error(
        "the store in {path:?} has version {found}, newer than this program's {known}: use the newer trainyard"
    )]
    Version {
        /// The store's directory.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// Somebody wrote to the store for so long that unused objects could not be removed.
    #[error("the store in {path:?} is in use: nothing was removed")]
    Busy {
        /// The store's directory.
        path: PathBuf,
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

impl StoreError {
    /// Returns one sentence on what to do next.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing { .. } | Self::Damaged { .. } => {
                Some("Take the snapshot again: content that is missing or damaged is stored anew.")
            }
            Self::Busy { .. } => Some("Try again when no snapshot or transfer is going on."),
            _ => None,
        }
    }
}
