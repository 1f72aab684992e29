//! Lists what a snapshot of a directory holds, without following a link out of it.
//!
//! Directories are opened one inside the other and asked about their names by descriptor, so that
//! neither the length of a path nor somebody who swaps a directory for a link meanwhile makes a
//! difference. What is part of a snapshot:
//!
//! - Files and directories, empty ones too, unless the ignore rules leave them out. An ignored
//!   directory is not entered. What another file system is mounted on is part of the source, as
//!   for git.
//! - Links that stay inside the source, as links: followed name by name, no step may leave the
//!   top, not even to come back. An absolute link into the source is kept as a relative one, so
//!   that it means the same wherever the snapshot is laid out.
//! - Never `.git`, file or directory, at any level, nor this program's state directories.
//! - FIFOs, sockets and devices are left out with a warning. Links that lead out and whatever
//!   cannot be read are errors, unless ignored. With
//!   [`SnapshotOptions::follow_links`], a link that leads out stands for what it leads to; links
//!   in there are kept when they stay below it.

pub(crate) mod base;
mod link;
pub(crate) mod listing;
mod look;
pub(crate) mod place;
pub(crate) mod queue;
pub(crate) mod walker;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use self::listing::{FoundKind, ListingBuffers};
use self::place::join;
use self::walker::{Entered, Pending, Walker};
use crate::limits::{Limits, Size, Sizes};
use crate::snapshot::{SnapshotError, SnapshotOptions, Warning};

/// What a snapshot of a directory would hold.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The files and links, in ascending order of their paths' bytes.
    pub files: Vec<ListedFile>,
    /// The directories but the source itself, in the same order.
    pub directories: Vec<Vec<u8>>,
    /// The sum of the files' lengths.
    pub total_bytes: u64,
    /// What is odd about it.
    pub warnings: Vec<Warning>,
}

/// A file or link that a snapshot would hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// The path from the source, without slashes at its ends.
    pub path: Vec<u8>,
    /// Its length in bytes; 0 for a link.
    pub size: u64,
    /// What it is.
    pub kind: ListedKind,
}

/// What a listed file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedKind {
    /// A regular file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A link that is kept as one.
    Link,
}

enum Task {
    Source(Entered),
    Directory(Pending),
}

/// Lists what a snapshot of `source` would hold, without reading a file.
///
/// # Errors
///
/// As [`crate::snapshot::take`], as far as it shows without reading files.
pub fn list(source: &Path, options: &SnapshotOptions) -> Result<Listing, SnapshotError> {
    let (walker, entered) = Walker::start(source, options)?;
    let listing = Mutex::new(Listing::default());
    queue::run(
        options.threads(),
        Task::Source(entered),
        ListingBuffers::default,
        |buffers, task, queue| {
            let entered = match task {
                Task::Source(entered) => entered,
                Task::Directory(pending) => match walker.enter(pending)? {
                    Some(entered) => entered,
                    None => return Ok(()),
                },
            };
            let found = walker.list(&entered, None, buffers)?;
            let mut listing = listing.lock().unwrap_or_else(PoisonError::into_inner);
            if !entered.path.is_empty() && !entered.is_ignored() {
                listing.directories.push(entered.path.clone());
            }
            for one in found.found {
                let name = &found.names[one.name];
                let (size, kind) = match one.kind {
                    FoundKind::File { stamp, .. } => {
                        (stamp.size, ListedKind::File { executable: stamp.executable() })
                    }
                    FoundKind::Link { .. } => (0, ListedKind::Link),
                    FoundKind::Directory { followed } => {
                        let pending = walker.pending(&entered, &found.rules, name, followed);
                        queue.push([Task::Directory(pending)]);
                        continue;
                    }
                };
                listing.total_bytes += size;
                listing.files.push(ListedFile { path: join(&entered.path, name), size, kind });
            }
            Ok::<(), SnapshotError>(())
        },
    )?;
    let mut listing = listing.into_inner().unwrap_or_else(PoisonError::into_inner);
    listing.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    listing.directories.sort_unstable();
    let warned = check_limits(&listing, walker.ignore_file(), &options.limits);
    listing.warnings = walker.into_warnings();
    listing.warnings.extend(warned);
    Ok(listing)
}

/// A listing is as long as it is: that it could not be taken is part of what it tells.
fn check_limits(listing: &Listing, ignore_file: &'static str, limits: &Limits) -> Vec<Warning> {
    let total = Size { bytes: listing.total_bytes, files: listing.files.len() as u64 };
    let checked = limits.check(total, || {
        let mut sizes = Sizes::new(ignore_file);
        listing.files.iter().for_each(|file| sizes.add(&file.path, file.size));
        sizes
    });
    match checked {
        Ok(warnings) => warnings.into_iter().map(Warning::Limit).collect(),
        Err(error) => vec![Warning::Refused(error)],
    }
}
