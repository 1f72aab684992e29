//! `trainyard snapshot explain`

use std::path::PathBuf;

use crate::cli::{Context, Failure, Outcome};

/// Says which rule lets a path into a snapshot or keeps it out
///
/// Without paths: what is kept out at the top and what contributes most. Takes no snapshot.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard snapshot explain . data/train.csv")]
pub(in crate::cli) struct Args {
    /// The source directory
    #[arg(value_name = "DIR", default_value = ".", value_hint = clap::ValueHint::DirPath)]
    source: PathBuf,
    /// Paths in the source directory
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Also checks that this script and the modules it imports are not ignored
    #[arg(long, value_name = "SCRIPT")]
    script: Option<PathBuf>,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Explains paths.
pub(super) fn explain(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("snapshot explain"))
}
