//! Forgetting runs.

use std::io;
use std::path::Path;

use runner::run_id::RunId;
use snapshots::path_error::{IoContext, PathError};

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
        task::blocking(move || remove(directory.path())).await?;
        Ok(())
    }
}

/// Removes a directory in which a script may have left directories that cannot be entered.
fn remove(directory: &Path) -> Result<(), PathError> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(directory)?;
            std::fs::remove_dir_all(directory).context("remove", directory)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.context("remove", directory),
    }
}

/// Gives the owner all rights on every directory. Follows no link.
fn open_up(directory: &Path) -> Result<(), PathError> {
    use std::os::unix::fs::PermissionsExt;
    let all = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(directory, all).context("make accessible", directory)?;
    for entry in std::fs::read_dir(directory).context("list", directory)? {
        let entry = entry.context("list", directory)?;
        if entry.file_type().context("examine", entry.path())?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}
