//! `trainyard snapshot create`

use std::path::PathBuf;

use crate::cli::{Context, Failure, Outcome};

/// Takes a snapshot of a directory and keeps it until it is removed
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard snapshot create . --json")]
pub(super) struct Args {
    /// The source directory
    #[arg(value_name = "DIR", default_value = ".", value_hint = clap::ValueHint::DirPath)]
    source: PathBuf,
    /// Takes in what symbolic links lead to, in place of the links
    #[arg(long)]
    follow_links: bool,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Takes a snapshot.
pub(super) fn create(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("snapshot create"))
}
