//! `trainyard snapshot remove`

use crate::cli::{Context, Failure, Outcome};

/// Forgets snapshots; `trainyard gc` then frees what no run needs
#[derive(Debug, clap::Args)]
#[command(visible_alias = "rm", after_help = "Example:\n  trainyard snapshot remove 8f3a1c2")]
pub(super) struct Args {
    /// Ids of snapshots or unique beginnings of them
    #[arg(required = true, value_name = "ID")]
    snapshots: Vec<String>,
}

/// Forgets snapshots.
pub(super) fn remove(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("snapshot remove"))
}
