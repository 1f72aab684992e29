//! `trainyard diff`: what differs between two runs.

use super::{Context, Failure, Outcome, reference};

/// Shows what differs between two runs
///
/// Without one of --code, --env, --params and --metrics, all four.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard diff swift-otter-12 @ --params --metrics")]
pub(super) struct Args {
    /// A run's id, a unique beginning of it, its name, or @ for the latest
    #[arg(value_name = "RUN", value_parser = reference::run, add = reference::runs())]
    old: String,
    /// The run to compare with
    #[arg(value_name = "RUN", value_parser = reference::run, add = reference::runs())]
    new: String,
    /// Files of the snapshots
    #[arg(long)]
    code: bool,
    /// Environments
    #[arg(long)]
    env: bool,
    /// Script, arguments, variables, tags
    #[arg(long)]
    params: bool,
    /// Last values of the metrics
    #[arg(long)]
    metrics: bool,
    /// With the text of changed files
    #[arg(short, long)]
    patch: bool,
}

/// Compares two runs.
pub(super) fn diff(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("diff"))
}
