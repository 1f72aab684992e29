//! What the driver of a run puts into its run directory, and reads from it.

use std::path::Path;

use runner::launch::Launch;
use runner::run_directory::RunDirectory;
use serde::Serialize;
use snapshots::path_error::{IoContext, PathError};
use tracing::error;

use crate::store::RunRow;

/// Removes the values of secrets of a run that will have no script any more: they are nobody's
/// business.
pub(crate) fn forget_secrets(directory: &RunDirectory) {
    let kept = directory.forget_kept();
    for forgotten in [directory.forget_secrets(), directory.forget_registry_password(), kept] {
        if let Err(error) = forgotten {
            error!(%error, "The secrets of a run that is over are still on the disk.");
        }
    }
}

/// Writes what was asked and what the supervisor is to do.
///
/// Without fsync: the records have what was asked, and a supervisor that reads the other does so
/// before the machine can have been restarted.
pub(crate) fn write_launch(
    directory: &RunDirectory,
    row: &RunRow,
    launch: &Launch,
) -> Result<(), PathError> {
    write_request(directory, row)?;
    write_json(&directory.launch_json(), launch)
}

/// Writes what was asked.
pub(crate) fn write_request(directory: &RunDirectory, row: &RunRow) -> Result<(), PathError> {
    write_json(&directory.run_json(), &row.request)
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), PathError> {
    let json = serde_json::to_vec_pretty(value).context("encode", path)?;
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, json).context("write", &temporary)?;
    std::fs::rename(&temporary, path).context("rename into", path)
}
