//! Preparing a run: `trainyard remote prepare RUN_DIR`.

use crate::run_directory::RunDirectory;

use super::files::RemoteHome;

/// Prepares the run in `run` as its `prepare.json` says, writes what came of it, and then keeps the
/// environment from being removed until the run is over. Returns at once when another process is
/// at it.
///
/// # Errors
///
/// What came of it cannot be written.
pub fn prepare(
    home: &RemoteHome,
    program: std::path::PathBuf,
    run: &RunDirectory,
) -> Result<(), snapshots::path_error::PathError> {
    let _unused = (home, program, run);
    todo!()
}
