//! `trainyard snapshot list`

use crate::cli::{Context, Failure, Outcome};

/// Lists the snapshots in the store, newest first
#[derive(Debug, clap::Args)]
#[command(visible_alias = "ls", after_help = "Example:\n  trainyard snapshot list")]
pub(super) struct Args {
    /// Prints a JSON array
    #[arg(long)]
    json: bool,
}

/// Lists snapshots.
pub(super) fn list(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("snapshot list"))
}
