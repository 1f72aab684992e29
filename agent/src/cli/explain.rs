//! `trainyard explain`: why a run waits, or why it ended.

use super::{Context, Failure, Outcome};

/// Says why a run waits, or why it ended
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard explain @")]
pub(super) struct Args {
    /// A run's id, a unique beginning of it, its name, or @ for the latest
    #[arg(value_name = "RUN", default_value = "@")]
    run: String,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Explains a run.
pub(super) fn explain(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("explain"))
}
