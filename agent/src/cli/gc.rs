//! `trainyard gc`: frees what nothing refers to.

use super::{Context, Failure, Outcome};

/// Frees what no run, snapshot or transfer refers to
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard gc --dry-run")]
pub(super) struct Args {
    /// Says what would be freed, and frees nothing
    #[arg(long)]
    dry_run: bool,
    /// Leaves alone what is younger than this
    #[arg(long, value_name = "DURATION", default_value = "2h")]
    grace: String,
    /// Also removes runs that ended longer ago than this
    #[arg(long, value_name = "DURATION")]
    older: Option<String>,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Frees space.
pub(super) fn gc(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("gc"))
}
