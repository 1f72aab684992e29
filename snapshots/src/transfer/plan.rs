//! What has to be sent, found with few questions.

use std::collections::HashSet;

use super::{BATCH, Destination, TransferError};
use crate::digest::Digest;
use crate::store::local::LocalStore;
use crate::tree::{EntryKind, Tree};

/// Which objects the other side is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Those that a tree it lacks refers to.
    UnderMissingTrees,
    /// All of the snapshot.
    Everything,
}

/// An object to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) digest: Digest,
    pub(super) length: u64,
}

/// Returns the objects that the other side lacks, blobs in the order of their places in the store,
/// then trees, those referred to before those that refer.
pub(super) fn wanted(
    from: &LocalStore,
    root: &Digest,
    to: &mut dyn Destination,
    asked: Asked,
    round_trips: &mut u64,
) -> Result<Vec<Wanted>, TransferError> {
    // A file may have the very bytes of a tree: the two are looked at apart.
    let mut seen = HashSet::from([*root]);
    let mut seen_files = HashSet::new();
    let mut trees = Vec::new();
    let mut blobs = Vec::new();
    let mut level = vec![*root];
    let mut files = Vec::new();
    while !level.is_empty() || !files.is_empty() {
        let questions: Vec<Digest> =
            level.iter().copied().chain(files.iter().map(|file: &Wanted| file.digest)).collect();
        let mut missing = HashSet::new();
        for batch in questions.chunks(BATCH) {
            *round_trips += 1;
            missing.extend(to.missing(batch)?);
        }
        blobs.extend(files.drain(..).filter(|file| missing.contains(&file.digest)));
        for digest in std::mem::take(&mut level) {
            let lacks = missing.contains(&digest);
            if !lacks && asked == Asked::UnderMissingTrees {
                continue;
            }
            let bytes = from.read(&digest)?;
            if lacks {
                trees.push(Wanted { digest, length: bytes.len() as u64 });
            }
            let tree = Tree::decode(&bytes)
                .map_err(|source| crate::store::StoreError::NotATree { digest, source })?;
            for entry in tree.entries() {
                match entry.kind {
                    EntryKind::Directory { digest } if seen.insert(digest) => level.push(digest),
                    EntryKind::File { digest, size, .. } if seen_files.insert(digest) => {
                        files.push(Wanted { digest, length: size });
                    }
                    _ => {}
                }
            }
        }
    }
    blobs.sort_by_cached_key(|blob| {
        from.locate(&blob.digest).map(|(pack, at)| (pack.name().to_owned(), at.offset))
    });
    blobs.extend(trees.into_iter().rev());
    Ok(blobs)
}
