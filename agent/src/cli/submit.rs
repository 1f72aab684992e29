//! `trainyard submit`: job files, without waiting for them.

use std::path::PathBuf;

use super::{Context, Failure, Outcome};

/// Submits job files and returns
///
/// Reads .runconfig files and v2 command-job YAML. Every file is checked before the first run is
/// submitted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard submit sweep/*.yml")]
pub(super) struct Args {
    /// Job files
    #[arg(required = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// Prints a JSON array of what was submitted
    #[arg(long)]
    json: bool,
}

/// Submits job files.
pub(super) fn submit(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("submit"))
}
