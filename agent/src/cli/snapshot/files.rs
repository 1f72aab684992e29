//! `trainyard snapshot files`

use std::path::PathBuf;

use crate::cli::{Context, Failure, Outcome};

/// Lists the files that a snapshot would hold, and takes none
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard snapshot files . | head")]
pub(super) struct Args {
    /// The source directory
    #[arg(value_name = "DIR", default_value = ".", value_hint = clap::ValueHint::DirPath)]
    source: PathBuf,
    /// Takes in what symbolic links lead to, in place of the links
    #[arg(long)]
    follow_links: bool,
    /// Ends every path with a NUL byte instead of a newline
    #[arg(short = '0', long, conflicts_with = "json")]
    null: bool,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Lists files.
pub(super) fn files(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("snapshot files"))
}
