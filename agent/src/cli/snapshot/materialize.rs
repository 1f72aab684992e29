//! `trainyard snapshot materialize`

use std::path::PathBuf;

use crate::cli::{Context, Failure, Outcome};

/// Lays a snapshot out in a directory
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard snapshot materialize 8f3a1c2 /tmp/as-it-was")]
pub(super) struct Args {
    /// A snapshot's id or a unique beginning of it, or a run
    #[arg(value_name = "ID")]
    snapshot: String,
    /// A directory that is empty or does not exist
    #[arg(value_name = "DEST", value_hint = clap::ValueHint::DirPath)]
    destination: PathBuf,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Lays a snapshot out.
pub(super) fn materialize(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("snapshot materialize"))
}
