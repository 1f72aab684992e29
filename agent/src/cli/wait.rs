//! `trainyard wait`: until runs have ended.

use super::{Context, Failure, Outcome};

/// Waits until runs have ended
///
/// The exit code is the run's, as under `trainyard run`; of several runs, that of the first one
/// named that did not complete.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard wait swift-otter-12 calm-heron-7")]
pub(super) struct Args {
    /// Runs: ids, unique beginnings, names, or @ for the latest
    #[arg(value_name = "RUN", default_value = "@")]
    runs: Vec<String>,
    /// Prints each run as a line of JSON when it has ended
    #[arg(long)]
    json: bool,
}

/// Waits for runs.
pub(super) fn wait(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("wait"))
}
