//! `trainyard list`: the runs, newest first.

use super::{Context, Failure, Outcome};

/// Lists runs, newest first
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "ps",
    after_help = "Example:\n  trainyard list --experiment diabetes --status Failed -n 5"
)]
pub(super) struct Args {
    /// Shows so many at most
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    limit: u32,
    /// Shows all
    #[arg(short, long, conflicts_with = "limit")]
    all: bool,
    /// Shows runs of this experiment only
    #[arg(short = 'x', long, value_name = "NAME")]
    experiment: Option<String>,
    /// Shows runs with this status only, as in Running, Completed, Failed
    #[arg(short, long, value_name = "STATUS")]
    status: Option<String>,
    /// Shows runs with this tag only
    #[arg(long, value_name = "K[=V]")]
    tag: Option<String>,
    /// Prints a JSON array
    #[arg(long)]
    json: bool,
}

/// Lists runs.
pub(super) fn list(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("list"))
}
