//! Lays a snapshot out in a directory.
//!
//! Content goes straight from the packs into fresh private files: sorted by place in the packs,
//! read in large pieces, each object checked against its digest, by several threads. Nothing is
//! linked or shared with the store, so whatever happens in the directory cannot change it.
//!
//! Every name is made relative to its directory's descriptor, never following a link and never
//! over something that is there, so nothing can lead out of the destination; symbolic links come
//! last of all, when no more names are looked up. Links are data here: where they lead is the
//! business of whoever follows them.
//!
//! Modes are 0755 for directories and executable files and 0644 for others, whatever the umask:
//! a snapshot looks the same wherever it is laid out. Nothing is synced: a directory that a crash
//! cut short is made again from the store.

mod destination;
mod directories;
mod files;
mod plan;

use std::path::{Path, PathBuf};

use self::destination::Destination;
use self::plan::Plan;
use crate::digest::Digest;
use crate::path_error::PathError;
use crate::store::StoreError;
use crate::store::local::LocalStore;

/// What was laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Materialized {
    /// How many files and links.
    pub files: u64,
    /// The sum of the files' lengths.
    pub bytes: u64,
}

/// Why a snapshot could not be laid out. Nothing of it is left in the destination.
#[derive(Debug, thiserror::Error)]
pub enum MaterializeError {
    /// The destination has something in it.
    #[error("{path:?} is not empty")]
    NotEmpty {
        /// The destination.
        path: PathBuf,
    },
    /// A tree says something else of a file than what the file's content is.
    #[error("the snapshot says that {path:?} has {said} bytes, but it has {actual}")]
    Length {
        /// The file's path in the snapshot.
        path: PathBuf,
        /// The length in the tree.
        said: u64,
        /// The length of the content.
        actual: u64,
    },
    /// The snapshot has more names than any that was taken could have.
    #[error("the snapshot has more than {most} files and directories")]
    TooMany {
        /// The most there may be.
        most: usize,
    },
    /// Content could not be had from the store.
    #[error("cannot lay out {path:?}")]
    Content {
        /// The path in the snapshot.
        path: PathBuf,
        /// What the store answered.
        source: StoreError,
    },
    /// The store could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file system said no.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl MaterializeError {
    /// Returns one sentence on what to do next.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotEmpty { .. } => {
                Some("Name a directory that does not exist yet, or an empty one.")
            }
            Self::Content { source, .. } | Self::Store(source) => source.hint(),
            _ => None,
        }
    }
}

/// Lays the snapshot whose root tree is `root` out in `destination`, which must not exist or be an
/// empty directory, with that many `threads` (0 is one a core).
///
/// # Errors
///
/// [`MaterializeError`]; what was made until then is removed again.
pub fn materialize(
    store: &LocalStore,
    root: &Digest,
    destination: &Path,
    threads: usize,
) -> Result<Materialized, MaterializeError> {
    let _lease = store.lease()?;
    let plan = Plan::of(store, root)?;
    let destination = Destination::prepare(destination)?;
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let made = destination
        .make_directories(&plan)
        .and_then(|()| files::write_all(store, &plan, &destination, threads))
        .and_then(|()| destination.make_links(&plan));
    if let Err(error) = made {
        destination.remove(&plan);
        return Err(error);
    }
    Ok(Materialized { files: plan.count(), bytes: plan.bytes() })
}
