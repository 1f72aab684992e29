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
        // What @ or a beginning stands for is told by its name.
        let run = context.wait_for(async { Ok(client.run(reference).await?) })?.summary;
        context.wait_for(async { Ok(client.remove(&run.run_id).await?) })?;
        context.terminal.status("Removed", format!("{} ({})", run.display_name, run.run_id));
    }
    Ok(Exit::OK)
}
