//! Which files differ from what is committed.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gix::bstr::{BString, ByteSlice};
use gix::index::entry::Mode;
use gix::status::tree_index::TrackRenames;
use gix::status::{Item, UntrackedFiles};

use super::repository::Repository;
use super::{AnyError, truth};

/// How deep submodules in submodules are looked into.
const SUBMODULE_DEPTH: usize = 4;

/// How many paths differ, in the whole repository and in the source directory alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In the whole repository.
    pub repository: ChangeCounts,
    /// In the source directory.
    pub source: ChangeCounts,
}

/// How many paths differ in which way. One path can be both staged and tracked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeCounts {
    /// The index differs from `HEAD`.
    pub staged: usize,
    /// The work tree differs from the index.
    pub tracked: usize,
    /// Neither tracked nor ignored. A directory of nothing else counts once.
    pub untracked: usize,
}

impl ChangeCounts {
    /// Returns whether anything differs.
    pub fn dirty(&self) -> bool {
        *self != Self::default()
    }

    fn add(&mut self, change: Change) {
        self.staged += usize::from(change.staged);
        self.tracked += usize::from(change.tracked);
        self.untracked += usize::from(change.untracked);
    }
}

impl Changes {
    /// Writes the changes down as properties.
    pub(super) fn record(&self, properties: &mut BTreeMap<String, String>) {
        let mut put = |name: &str, value| properties.insert(name.to_owned(), value);
        put("azureml.git.dirty", truth(self.source.dirty()));
        for (place, counts) in [("repository", self.repository), ("source", self.source)] {
            put(&format!("trainyard.git.{place}.dirty"), truth(counts.dirty()));
            for (kind, count) in [
                ("staged", counts.staged),
                ("tracked", counts.tracked),
                ("untracked", counts.untracked),
            ] {
                put(&format!("trainyard.git.{place}.{kind}"), count.to_string());
            }
        }
    }
}

/// How one path differs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    pub(super) staged: bool,
    pub(super) tracked: bool,
    pub(super) untracked: bool,
}

/// All paths that differ.
pub(super) struct Found {
    pub(super) changes: BTreeMap<BString, Change>,
    /// What is checked out in the submodules that differ.
    pub(super) submodules: BTreeMap<BString, CheckedOut>,
}

/// The state of a submodule's own work tree.
pub(super) struct CheckedOut {
    pub(super) commit: String,
    pub(super) dirty: bool,
}

impl Found {
    /// Counts the changes; those of the directory `source`, if it is in the repository, also apart.
    pub(super) fn count(&self, source: Option<&[u8]>) -> Changes {
        let mut counts = Changes::default();
        for (path, change) in &self.changes {
            counts.repository.add(*change);
            let inside = |directory: &[u8], path: &[u8]| {
                directory.is_empty()
                    || path
                        .strip_prefix(directory)
                        .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
            };
            // The source may also be within a directory that is untracked as a whole.
            if source.is_some_and(|source| inside(source, path) || inside(path, source)) {
                counts.source.add(*change);
            }
        }
        counts
    }
}

/// Compares `HEAD`, the index and the work tree.
pub(super) fn find(
    repository: &Repository,
    interrupt: &Arc<AtomicBool>,
) -> Result<Found, AnyError> {
    find_to_depth(repository, interrupt, SUBMODULE_DEPTH)
}

fn find_to_depth(
    repository: &Repository,
    interrupt: &Arc<AtomicBool>,
    depth: usize,
) -> Result<Found, AnyError> {
    let mut found = Found { changes: BTreeMap::new(), submodules: BTreeMap::new() };
    let items = repository
        .git
        .status(gix::progress::Discard)?
        .untracked_files(UntrackedFiles::Collapsed)
        .index_worktree_rewrites(None)
        .index_worktree_submodules(None)
        .tree_index_track_renames(TrackRenames::Disabled)
        .should_interrupt_owned(Arc::clone(interrupt))
        .into_iter(None)?;
    for item in items {
        let item = item?;
        let change = found.changes.entry(item.location().to_owned()).or_default();
        match item {
            Item::TreeIndex(_) => change.staged = true,
            Item::IndexWorktree(gix::status::index_worktree::Item::DirectoryContents {
                ..
            }) => change.untracked = true,
            Item::IndexWorktree(_) => change.tracked = true,
        }
    }
    compare_submodules(repository, interrupt, depth, &mut found)?;
    Ok(found)
}

/// Looks into the submodules that are checked out.
fn compare_submodules(
    repository: &Repository,
    interrupt: &Arc<AtomicBool>,
    depth: usize,
    found: &mut Found,
) -> Result<(), AnyError> {
    let index = repository.git.index_or_empty()?;
    for entry in index.entries().iter().filter(|entry| entry.mode == Mode::COMMIT) {
        let path = entry.path(&index);
        let directory = repository.root.join(Path::new(std::ffi::OsStr::from_bytes(path)));
        // Not checked out, or reached through a link that leads anywhere.
        let Ok(real) = directory.canonicalize() else { continue };
        if real != directory || directory.join(".git").symlink_metadata().is_err() {
            continue;
        }
        let Ok(inner) = Repository::open(&directory) else { continue };
        let (_, commit) = inner.head();
        let dirty = depth > 0
            && inner.check_work_tree().is_ok()
            && find_to_depth(&inner, interrupt, depth - 1)
                .is_ok_and(|inner| !inner.changes.is_empty());
        let recorded = entry.id.to_string();
        let commit = commit.unwrap_or_else(|| recorded.clone());
        if dirty || commit != recorded {
            found.changes.entry(path.to_owned()).or_default().tracked = true;
        }
        if found.changes.contains_key(path.as_bstr()) {
            found.submodules.insert(path.to_owned(), CheckedOut { commit, dirty });
        }
    }
    Ok(())
}
