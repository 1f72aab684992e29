//! The difference between two sources: snapshots in the store, or directories as they are.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anstyle::AnsiColor;
use snapshots::diff::{Change, ChangeKind, TreeSource, unified};
use snapshots::digest::Digest;
use snapshots::path_error::IoContext;
use snapshots::snapshot::{MemoryTrees, digest_only};
use snapshots::store::local::LocalStore;
use snapshots::tree::EntryKind;

use super::{Context, Failure, reference, snapshotting};
use crate::terminal::log_filter::LogFilter;

/// A larger file is only said to differ.
const LARGEST_TEXT: u64 = 4 << 20;

/// One of the two sources.
pub(super) enum Side {
    /// A snapshot.
    Snapshot {
        /// Its root tree.
        root: Digest,
        /// Where it is.
        store: LocalStore,
    },
    /// A directory.
    Directory {
        /// The root tree that a snapshot of it would have.
        root: Digest,
        /// All its trees.
        trees: MemoryTrees,
        /// The directory.
        path: PathBuf,
    },
}

impl Side {
    /// Opens what `typed` stands for: a directory, or a snapshot or run.
    ///
    /// # Errors
    ///
    /// It stands for nothing, or cannot be read.
    pub(super) fn open(
        context: &Context,
        store: &LocalStore,
        typed: &str,
    ) -> Result<Self, Failure> {
        let path = Path::new(typed);
        if path.is_dir() {
            let workspace = context.workspace()?;
            let options = snapshotting::options(context, &workspace, path, false);
            let (root, trees) = digest_only(path, &options)?;
            return Ok(Self::Directory { root, trees, path: path.to_owned() });
        }
        Ok(Self::stored(store, reference::snapshot(context, store, typed)?))
    }

    /// Takes a snapshot in the store.
    pub(super) fn stored(store: &LocalStore, root: Digest) -> Self {
        Self::Snapshot { root, store: store.clone() }
    }

    fn trees(&self) -> (&dyn TreeSource, &Digest) {
        match self {
            Self::Snapshot { root, store } => (store, root),
            Self::Directory { root, trees, .. } => (trees, root),
        }
    }

    /// Returns what is to be compared of `kind` at `path`: a file's bytes, a link's target.
    fn content(&self, path: &[u8], kind: Option<&EntryKind>) -> Result<Content, Failure> {
        match kind {
            None | Some(EntryKind::Directory { .. }) => Ok(Content::None),
            Some(EntryKind::Symlink { target }) => Ok(Content::Bytes(target.clone())),
            Some(EntryKind::File { size, .. }) if *size > LARGEST_TEXT => Ok(Content::TooLong),
            Some(EntryKind::File { digest, .. }) => match self {
                Self::Snapshot { store, .. } => Ok(Content::Bytes(store.read(digest)?)),
                Self::Directory { path: directory, .. } => {
                    let file = directory.join(OsStr::from_bytes(path));
                    let bytes = std::fs::read(&file).context("read", &file);
                    Ok(Content::Bytes(bytes.map_err(Failure::failed)?))
                }
            },
        }
    }
}

enum Content {
    None,
    Bytes(Vec<u8>),
    TooLong,
}

/// Returns what changed.
///
/// # Errors
///
/// A tree cannot be read.
pub(super) fn changes(old: &Side, new: &Side) -> Result<Vec<Change>, Failure> {
    let ((old_trees, old_root), (new_trees, new_root)) = (old.trees(), new.trees());
    Ok(snapshots::diff::diff(old_trees, old_root, new_trees, new_root)?)
}

/// Returns a change as `--json` has it.
pub(super) fn document(change: &Change) -> serde_json::Value {
    let (name, from) = match &change.kind {
        ChangeKind::Added => ("added", None),
        ChangeKind::Removed => ("removed", None),
        ChangeKind::Changed => ("changed", None),
        ChangeKind::Renamed { from } => ("renamed", Some(String::from_utf8_lossy(from))),
    };
    serde_json::json!({
        "path": String::from_utf8_lossy(&change.path), "change": name, "from": from,
    })
}

/// Prints changes, a line each, or with their text.
///
/// # Errors
///
/// A file cannot be read, or standard output cannot be written.
pub(super) fn show(
    context: &Context,
    old: &Side,
    new: &Side,
    changes: &[Change],
    patch: bool,
) -> Result<(), Failure> {
    for change in changes {
        let lines = if patch { text(old, new, change)? } else { Vec::new() };
        if lines.is_empty() {
            context.print(line(context, change))?;
        } else if context.terminal.out_is_terminal() {
            let mut shown = Vec::new();
            LogFilter::default().feed(&lines, &mut shown);
            context.print(shown)?;
        } else {
            context.print(lines)?;
        }
    }
    Ok(())
}

fn line(context: &Context, change: &Change) -> Vec<u8> {
    let (letter, color) = match &change.kind {
        ChangeKind::Added => ("A", AnsiColor::Green),
        ChangeKind::Removed => ("D", AnsiColor::Red),
        ChangeKind::Changed => ("M", AnsiColor::Yellow),
        ChangeKind::Renamed { .. } => ("R", AnsiColor::Cyan),
    };
    let mut line = context.terminal.paint(color.on_default(), letter).into_bytes();
    line.push(b' ');
    if let ChangeKind::Renamed { from } = &change.kind {
        line.extend_from_slice(&context.terminal.name(from));
        line.extend_from_slice(" → ".as_bytes());
    }
    line.extend_from_slice(&context.terminal.name(&change.path));
    line.push(b'\n');
    line
}

fn text(old: &Side, new: &Side, change: &Change) -> Result<Vec<u8>, Failure> {
    let before = match &change.kind {
        ChangeKind::Renamed { from } => from,
        _ => &change.path,
    };
    let was = old.content(before, change.old.as_ref())?;
    let is = new.content(&change.path, change.new.as_ref())?;
    Ok(match (was, is) {
        (Content::TooLong, _) | (_, Content::TooLong) => Vec::new(),
        (was, is) => unified(change, was.bytes().as_deref(), is.bytes().as_deref()),
    })
}

impl Content {
    fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::None | Self::TooLong => None,
        }
    }
}
