//! `trainyard doctor`: what works on this machine, and what to install.

use super::{Context, Failure, Outcome};

/// Checks what works on this machine and says what to install
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard doctor")]
pub(super) struct Args {
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Checks the machine.
pub(super) fn doctor(args: &Args, context: &Context) -> Outcome {
    let _ = (args, context);
    Err(Failure::not_yet("doctor"))
}
