//! `trainyard snapshot diff`

use crate::cli::comparison::{self, Side};
use crate::cli::context::SCHEMA_VERSION;
use crate::cli::{Context, Exit, Outcome, snapshotting};

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
    let store = snapshotting::store(&context.workspace()?)?;
    let old = Side::open(context, &store, &args.old)?;
    let new = Side::open(context, &store, &args.new)?;
    let changes = comparison::changes(&old, &new)?;
    if args.json {
        context.print_json(&serde_json::json!({
            "schemaVersion": SCHEMA_VERSION,
            "changes": changes.iter().map(comparison::document).collect::<Vec<_>>(),
        }))?;
    } else {
        comparison::show(context, &old, &new, &changes, args.patch)?;
    }
    Ok(Exit::OK)
}
