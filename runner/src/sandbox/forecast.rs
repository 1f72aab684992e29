//! What the sandbox of a run is here and now, without making one.

use super::host::HostFacts;
use super::places::Places;
use super::plan::{Plan, SandboxRefused, plan};
use super::policy::SandboxPolicy;
use super::probe;
use crate::launch::Launch;
use crate::run_directory::RunDirectory;

/// Plans the sandbox of `launch` as the supervisor of `run` does, whose directory need not be there.
/// Blocks for some milliseconds: what this machine has is tried.
///
/// # Errors
///
/// It would be less than it may be.
pub fn forecast(
    policy: &SandboxPolicy,
    launch: &Launch,
    run: &RunDirectory,
) -> Result<Plan, SandboxRefused> {
    let facts = probe::tried(HostFacts::look());
    let places = Places::of_run(run, &launch.program, &launch.environment, &run.temporary());
    plan(policy, &facts, &places, launch.shared_memory())
}
