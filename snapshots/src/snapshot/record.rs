//! What is written down of a snapshot besides its objects.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A snapshot that was taken: its id, when, and how much it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotRecord {
    /// The version of this record: [`SnapshotRecord::VERSION`] when written by this program.
    pub version: u32,
    /// The digest of the root directory's tree.
    pub id: Digest,
    /// How many regular files and symbolic links it holds.
    pub file_count: u64,
    /// How many directories it holds, the root not counted.
    pub directory_count: u64,
    /// The sum of the files' lengths in bytes. A hard link counts as a file of its own, a hole in
    /// a sparse file as the zeros it reads as.
    pub total_bytes: u64,
    /// When it was taken first.
    pub created_time_utc: Timestamp,
    /// Whether it stays until somebody removes it, even when no run refers to it.
    pub kept: bool,
    /// What the person who took it was warned of.
    pub warnings: Vec<String>,
}

impl SnapshotRecord {
    /// The version written by this program.
    pub const VERSION: u32 = 1;
}
