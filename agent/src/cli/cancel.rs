//! `trainyard cancel`: ends runs and everything they started.

use super::{Context, Exit, Outcome, reference};
use crate::client::Start;

/// Cancels runs, with everything they started
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard cancel swift-otter-12")]
pub(super) struct Args {
    /// Runs: ids, unique beginnings, names, or @ for the latest
    #[arg(required = true, value_name = "RUN", value_parser = reference::run, add = reference::runs())]
    runs: Vec<String>,
    /// Kills at once, without the grace period
    #[arg(long)]
    now: bool,
    /// Prints each run as a line of JSON
    #[arg(long)]
    json: bool,
}

/// Cancels runs.
pub(super) fn cancel(args: &Args, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    for reference in &args.runs {
        let run = context.wait_for(async { Ok(client.cancel(reference, args.now).await?) })?;
        if args.json {
            context.print_line(&run)?;
        } else {
            context.terminal.status("Cancelling", &run.summary.display_name);
        }
    }
    Ok(Exit::OK)
}
