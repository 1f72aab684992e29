//! `trainyard snapshot diff`

use crate::cli::{Context, Failure, Outcome};

/// Shows what differs between two snapshots, runs or directories
///
/// The exit code is 0 whether or not something differs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard snapshot diff -p @ .")]
pub(in crate::cli) struct Args {
    /// A snapshot's id or a unique beginning of it, a run, or a directory
    #[arg(value_name = "OLD")]
    old: String,
    /// What to compare with
    #[arg(value_name = "NEW")]
    new: String,
    /// Shows the text of the changes
    #[arg(short, long)]
    patch: bool,
    /// Prints one JSON document
    #[arg(long, conflicts_with = "patch")]
    json: bool,
}

/// Compares.
pub(super) fn diff(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("snapshot diff"))
}
