//! `trainyard sandbox`: what a run may see and do, and whether this machine sees to that.

mod explain;
mod explained;
mod page;
mod probe;

use super::{Context, Outcome};

/// Explains the sandbox of a run, and proves that this machine makes one
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Explain(Box<explain::Args>),
    Probe(probe::Args),
}

/// Carries out one of the commands.
pub(super) fn sandbox(command: &Command, context: &Context) -> Outcome {
    match command {
        Command::Explain(args) => explain::explain(args, context),
        Command::Probe(args) => probe::probe(args, context),
    }
}
