//! `trainyard show`: everything about one run.

use super::{Context, Failure, Outcome};

/// Shows everything about a run
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard show @")]
pub(super) struct Args {
    /// A run's id, a unique beginning of it, its name, or @ for the latest
    #[arg(value_name = "RUN", default_value = "@")]
    run: String,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Shows a run.
pub(super) fn show(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("show"))
}
