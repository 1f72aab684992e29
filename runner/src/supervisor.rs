//! The supervisor: one small process per run that owns its pipes, its log files, its end.

use std::path::Path;
use std::process::ExitCode;

pub mod log_writer;
pub mod process_tree;

/// Carries out the run in `run_directory` and returns when it is over: `trainyard supervise DIR`.
///
/// Forks, so it must be called from a process that has one thread only: before any runtime.
#[must_use]
pub fn supervise(run_directory: &Path) -> ExitCode {
    todo!("{run_directory:?}")
}
