//! `trainyard cancel`: ends runs and everything they started.

use super::{Context, Failure, Outcome};

/// Cancels runs, with everything they started
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard cancel swift-otter-12")]
pub(super) struct Args {
    /// Runs: ids, unique beginnings, names, or @ for the latest
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<String>,
    /// Kills at once, without the grace period
    #[arg(long)]
    now: bool,
    /// Prints each run as a line of JSON
    #[arg(long)]
    json: bool,
}

/// Cancels runs.
pub(super) fn cancel(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("cancel"))
}
