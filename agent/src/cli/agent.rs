//! `trainyard agent`: the daemon.

use std::num::NonZeroUsize;

use super::{Context, Exit, Failure, Outcome};
use crate::agent::Options;

/// Starts, asks and stops the agent
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Runs the agent in the foreground, until it is told to stop
    #[command(after_help = "Example:\n  trainyard agent run")]
    Run {
        /// How many runs may be on at once [default: two per core]
        #[arg(long, value_name = "N")]
        max_runs: Option<NonZeroUsize>,
        /// Leaves the caller's session and says `ready` on standard output (used by the CLI)
        #[arg(long, hide = true)]
        detached: bool,
    },
    /// Says whether an agent answers, and how it is
    #[command(after_help = "Example:\n  trainyard agent status --json")]
    Status {
        /// Prints one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Stops the agent; its runs go on, and the next agent finds them
    #[command(after_help = "Example:\n  trainyard agent stop")]
    Stop,
    /// Lets running runs end and starts no new ones (not yet)
    #[command(after_help = "Example:\n  trainyard agent drain")]
    Drain,
}

/// Carries out one of the commands.
pub(super) fn agent(command: &Command, context: &Context) -> Outcome {
    match command {
        Command::Run { max_runs, detached } => run(*max_runs, *detached, context),
        Command::Status { json: _ } => Err(Failure::not_yet("agent status")),
        Command::Stop => Err(Failure::not_yet("agent stop")),
        Command::Drain => Err(Failure::not_yet("agent drain")),
    }
}

fn run(max_runs: Option<NonZeroUsize>, detached: bool, context: &Context) -> Outcome {
    let workspace = context.workspace()?;
    if detached {
        // Whoever started us must not take us along when its terminal closes. It fails only where
        // we lead a process group, which is as good.
        rustix::process::setsid().ok();
    }
    let options = Options { max_runs, announce: detached, verbose: !detached };
    crate::agent::run(workspace, options).map_err(Failure::failed)?;
    Ok(Exit::OK)
}
