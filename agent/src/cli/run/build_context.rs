//! Build contexts of Dockerfiles: snapshots of their own, ruled by `.dockerignore`.

use std::path::Path;

use images::environment::{DockerBase, Environment};
use snapshots::digest::Digest;
use snapshots::snapshot::SnapshotRecord;
use snapshots::store::local::{Hold, LocalStore};

use super::environment::{BuildContext, Chosen};
use crate::cli::{Context, Failure, snapshotting};
use crate::terminal::measure;
use crate::workspace::Workspace;

/// A build context in the user's own store.
#[derive(Debug)]
pub(in crate::cli) struct Taken {
    /// Its snapshot.
    pub(in crate::cli) record: SnapshotRecord,
    /// What the user should know of it.
    pub(in crate::cli) warnings: Vec<String>,
    /// Keeps it from clean-up until it was sent or handed in.
    pub(in crate::cli) hold: Hold,
}

/// Takes a snapshot of the build context of what was chosen, if it has one, and says so. Files
/// that did not change since the last time are not read again.
///
/// # Errors
///
/// The snapshot cannot be taken, or one that was registered is gone.
pub(in crate::cli) fn take(
    context: &Context,
    workspace: &Workspace,
    store: &LocalStore,
    chosen: &Chosen,
) -> Result<Option<Taken>, Failure> {
    // Nothing is removed between taking it and holding it.
    let _lease = store.lease()?;
    match &chosen.build_context {
        None => Ok(None),
        Some(BuildContext::Snapshot(id)) => {
            let record = store.record(id)?.ok_or_else(|| {
                Failure::failed(format!(
                    "the build context of {} is not kept any more",
                    chosen.name
                ))
                .hint("register it again: `trainyard env register NAME DOCKERFILE`")
            })?;
            let hold = store.hold(&record.id)?;
            Ok(Some(Taken { record, warnings: Vec::new(), hold }))
        }
        Some(BuildContext::Directory(directory, dockerfile)) => {
            let options = snapshotting::context_options(context, workspace, directory, dockerfile);
            let taken = snapshotting::take(context, store, directory, &options)?;
            let record = taken.record;
            let files = measure::count(record.file_count, "file");
            let size = measure::size(record.total_bytes);
            context.terminal.status("Context", format!("{files}, {size} ({})", record.id.short(8)));
            let warnings = taken.warnings.iter().map(ToString::to_string).collect();
            let hold = store.hold(&record.id)?;
            Ok(Some(Taken { record, warnings, hold }))
        }
    }
}

/// Lists the build context of what was chosen without taking a snapshot: files and bytes.
///
/// # Errors
///
/// It cannot be listed.
pub(super) fn list(
    context: &Context,
    workspace: &Workspace,
    directory: &Path,
    dockerfile: &Path,
) -> Result<(u64, u64), Failure> {
    let options = snapshotting::context_options(context, workspace, directory, dockerfile);
    let listing = snapshots::walk::list(directory, &options)?;
    Ok((listing.files.len() as u64, listing.total_bytes))
}

/// Notes in an environment which snapshot its Dockerfile sees.
pub(in crate::cli) fn note_in(environment: &mut Environment, id: Digest) {
    if let Environment::Docker { docker } = environment
        && let DockerBase::Dockerfile { context, .. } = &mut docker.base
    {
        *context = Some(id);
    }
}
