//! Taking snapshots with this user's settings and showing how far they are.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use snapshots::digest::Digest;
use snapshots::limits::Limits;
use snapshots::snapshot::{Progress as SnapshotProgress, SnapshotError, SnapshotOptions, Taken};
use snapshots::store::StoreError;
use snapshots::store::local::LocalStore;

use super::{Context, Failure};
use crate::config::Key;
use crate::terminal::{Progress, measure};
use crate::workspace::Workspace;

/// How many warnings are printed one by one.
const WARNINGS_SHOWN: usize = 5;

/// Returns how snapshots of `source` are taken here.
pub(super) fn options(
    context: &Context,
    workspace: &Workspace,
    source: &Path,
    follow_links: bool,
) -> SnapshotOptions {
    let limit = |key| context.settings.number(key).unwrap_or(u64::MAX);
    let limits = Limits {
        max_bytes: limit(Key::MaxBytes),
        max_files: limit(Key::MaxFiles),
        ..Limits::default()
    };
    SnapshotOptions {
        dockerfile: None,
        follow_links,
        limits,
        state_directories: vec![workspace.home().to_owned()],
        index: Some(index_of(workspace, source, "")),
        threads: 0,
        kept: false,
    }
}

/// Returns how snapshots of the build context `directory` of `dockerfile`, a path in it, are taken
/// here. Other files are ignored than in a source directory, so its index is another.
pub(super) fn context_options(
    context: &Context,
    workspace: &Workspace,
    directory: &Path,
    dockerfile: &Path,
) -> SnapshotOptions {
    SnapshotOptions {
        dockerfile: Some(dockerfile.to_owned()),
        index: Some(index_of(workspace, directory, "build context")),
        ..options(context, workspace, directory, false)
    }
}

/// Returns the index file of a source directory, by what it is read for.
fn index_of(workspace: &Workspace, source: &Path, purpose: &str) -> PathBuf {
    let source = source.canonicalize().unwrap_or_else(|_| source.to_owned());
    let mut bytes = source.as_os_str().as_bytes().to_vec();
    if !purpose.is_empty() {
        // No path has a NUL in it.
        bytes.push(0);
        bytes.extend_from_slice(purpose.as_bytes());
    }
    let name = Digest::of(&bytes);
    workspace.indexes().join(name.short(32))
}

/// Opens the user's own store, making it if need be.
///
/// # Errors
///
/// It cannot be opened.
pub(super) fn store(workspace: &Workspace) -> Result<LocalStore, Failure> {
    workspace.create().map_err(|error| {
        let hint = error.hint();
        Failure::failed(error).maybe_hint(hint)
    })?;
    Ok(LocalStore::open(&workspace.store())?)
}

/// Takes a snapshot, showing how far it is.
///
/// # Errors
///
/// [`SnapshotError`], with what to do about it.
pub(super) fn take(
    context: &Context,
    store: &LocalStore,
    source: &Path,
    options: &SnapshotOptions,
) -> Result<Taken, Failure> {
    let bar = Bar::new(context);
    Ok(snapshots::snapshot::take(source, store, options, &bar)?)
}

/// Prints warnings, the first few one by one.
pub(super) fn warn(context: &Context, warnings: &[String]) {
    for warning in warnings.iter().take(WARNINGS_SHOWN) {
        context.terminal.warning(warning);
    }
    if warnings.len() > WARNINGS_SHOWN {
        let more = (warnings.len() - WARNINGS_SHOWN) as u64;
        let more = measure::count(more, "warning");
        context.terminal.warning(format!("{more} more; `trainyard snapshot files` shows all"));
    }
}

/// The progress of a snapshot as a line that moves.
struct Bar {
    files: AtomicU64,
    bytes: AtomicU64,
    progress: Progress,
}

impl Bar {
    fn new(context: &Context) -> Self {
        let progress = Progress::new(&context.terminal, "Hashing");
        Self { files: AtomicU64::new(0), bytes: AtomicU64::new(0), progress }
    }
}

impl SnapshotProgress for Bar {
    fn found(&self, _: u64, _: u64) {}

    fn hashed(&self, files: u64, bytes: u64) {
        let files = self.files.fetch_add(files, Ordering::Relaxed) + files;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.progress.set_files(files, bytes);
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        let hint = error.hint();
        let failure = match error {
            SnapshotError::Store(_) => Self::failed(error),
            error => Self::usage(error),
        };
        failure.maybe_hint(hint)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let hint = error.hint();
        Self::failed(error).maybe_hint(hint)
    }
}
