//! `trainyard remove`: forgets ended runs.

use super::{Context, Exit, Outcome, reference};
use crate::client::Start;

/// Removes ended runs with their logs and outputs
#[derive(Debug, clap::Args)]
#[command(visible_alias = "rm", after_help = "Example:\n  trainyard remove swift-otter-12")]
pub(super) struct Args {
    /// Runs: ids, unique beginnings or names
    #[arg(required = true, value_name = "RUN", value_parser = reference::run, add = reference::runs())]
    runs: Vec<String>,
}

/// Removes runs.
pub(super) fn remove(args: &Args, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    for reference in &args.runs {
        context.wait_for(async { Ok(client.remove(reference).await?) })?;
        context.terminal.status("Removed", reference);
    }
    Ok(Exit::OK)
}
