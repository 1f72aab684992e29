//! `trainyard outputs`: the files a run left.

use std::path::PathBuf;

use super::{Context, Failure, Outcome};

/// Lists the files a run left in outputs/ and logs/, or copies them
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trainyard outputs @\n  trainyard outputs @ results/")]
pub(super) struct Args {
    /// A run's id, a unique beginning of it, its name, or @ for the latest
    #[arg(value_name = "RUN", default_value = "@")]
    run: String,
    /// Directory to copy the files into
    #[arg(value_name = "DEST", value_hint = clap::ValueHint::DirPath)]
    destination: Option<PathBuf>,
    /// Overwrites files that are there
    #[arg(long, requires = "destination")]
    force: bool,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Lists or copies a run's files.
pub(super) fn outputs(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("outputs"))
}
