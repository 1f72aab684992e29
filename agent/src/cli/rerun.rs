//! `trainyard rerun`: the same snapshot in the same environment, once more.

use super::{Context, Failure, Outcome};

/// Runs a run again: same snapshot, same environment, same arguments
///
/// Secrets were not kept and have to be given again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard rerun @")]
pub(super) struct Args {
    /// A run's id, a unique beginning of it, its name, or @ for the latest
    #[arg(value_name = "RUN")]
    run: String,
    /// Name of the new run, shown to people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Sets a secret variable from FILE, or from your own value
    #[arg(long = "secret", value_name = "K[=FILE]")]
    secrets: Vec<String>,
    /// Returns as soon as the run is accepted, and prints its id
    #[arg(short, long)]
    detach: bool,
    /// Shows the script's output as it is, control sequences included
    #[arg(long)]
    raw: bool,
    /// With --detach: prints one JSON document
    #[arg(long, requires = "detach")]
    json: bool,
}

/// Runs a run again.
pub(super) fn rerun(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("rerun"))
}
