//! The agent process: one per state directory, from its lock to its last reply.

use std::num::NonZeroUsize;

use crate::workspace::Workspace;

/// What the agent is told when it starts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// How many runs may be on at once. Default: two per core.
    pub(crate) max_runs: Option<NonZeroUsize>,
    /// Write `ready` and a newline to stdout once the socket answers, then let go of stdout and
    /// stderr: what whoever starts an agent waits for.
    pub(crate) announce: bool,
    /// Log to stderr too.
    pub(crate) verbose: bool,
}

/// Runs the agent of `workspace` until it is told to stop. Runs that are on go on without it.
///
/// # Errors
///
/// The state directory cannot be used, another agent has it, or the records cannot be read.
pub(crate) fn run(workspace: Workspace, options: Options) -> anyhow::Result<()> {
    let (_, _) = (workspace, options);
    anyhow::bail!("the agent cannot be started yet")
}
