//! Forgetting runs.

use runner::run_id::RunId;
use snapshots::path_error::PathError;

use crate::agent::Agent;
use crate::store::StoreError;
use crate::task;

/// Why a run is still there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemovalError {
    /// The records said no.
    #[error(transparent)]
    Records(#[from] StoreError),
    /// Its directory cannot be removed. The records do not know it any more.
    #[error(transparent)]
    Directory(#[from] PathError),
}

impl Agent {
    /// Removes an ended run: its records first, then its directory.
    ///
    /// # Errors
    ///
    /// It has not ended, or something of it cannot be removed.
    pub(crate) async fn forget(&self, run: &RunId) -> Result<(), RemovalError> {
        let directory = self.workspace.run_directory(run);
        self.store.remove(run).await?;
        self.disk.runs_changed.notify_one();
        task::blocking(move || directory.remove()).await?;
        Ok(())
    }
}
