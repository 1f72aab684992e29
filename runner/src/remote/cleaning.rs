//! Removing what nobody needs.

use super::files::RemoteHome;
use super::message::{Cleaned, Purged, Refusal, RefusalKind};
use super::run::RemoteRun;
use super::workshop::Workshop;
use crate::run_id::RunId;
use snapshots::path_error::{IoContext as _, PathError};
use std::fs;

/// What is to be removed.
pub(super) struct Wanted {
    pub(super) runs_older_seconds: u64,
    pub(super) max_bytes: Option<u64>,
    pub(super) dry_run: bool,
}

pub(super) fn clean(
    _home: &RemoteHome,
    _workshop: &Workshop,
    _wanted: &Wanted,
) -> Result<Cleaned, Refusal> {
    Err(Refusal::new(RefusalKind::Failed, "not yet"))
}

pub(super) fn purge(
    _home: &RemoteHome,
    _workshop: &Workshop,
    _owner: &str,
) -> Result<Purged, Refusal> {
    Err(Refusal::new(RefusalKind::Failed, "not yet"))
}

/// Removes the directory of a run that is over. It is renamed first, so that nobody finds half of
/// it.
pub(super) fn remove_run(home: &RemoteHome, id: &RunId, run: &RemoteRun) -> Result<(), PathError> {
    let gone = home.runs().join(format!(".gone-{:016x}", rand::random::<u64>()));
    fs::rename(run.directory.path(), &gone).context("remove", run.directory.path())?;
    let _ = id;
    fs::remove_dir_all(&gone).context("remove", &gone)
}
