//! `trainyard wait`: until runs have ended.

use super::following::{self, Followed, OnInterrupt, Printer, exit_of};
use super::{Context, Exit, Failure, Outcome, reference};
use crate::client::{Client, From, Start};

/// Waits until runs have ended
///
/// The exit code is the run's, as under `trainyard run`; of several runs, that of the first one
/// named that did not complete.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard wait swift-otter-12 calm-heron-7")]
pub(super) struct Args {
    /// Runs: ids, unique beginnings, names, or @ for the latest
    #[arg(value_name = "RUN", value_parser = reference::run, add = reference::runs(), default_value = "@")]
    runs: Vec<String>,
    /// Prints each run as a line of JSON when it has ended
    #[arg(long)]
    json: bool,
}

/// Waits for runs.
pub(super) fn wait(args: &Args, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    // All are looked up first: a name that does not exist is told at once, not after hours.
    let mut ids = Vec::new();
    for reference in &args.runs {
        let run = context.wait_for(async { Ok(client.run(reference).await?) })?;
        ids.push(run.summary.run_id);
    }
    let mut exit = Exit::OK;
    for id in &ids {
        let run = match context.wait_for(ended(&client, id, context))? {
            Followed::Ended(run) => run,
            Followed::Left => return Ok(Exit(130)),
        };
        if args.json {
            context.print_line(&run)?;
        } else {
            let summary = &run.summary;
            context.terminal.status(summary.status.name(), &summary.display_name);
        }
        if exit == Exit::OK {
            exit = exit_of(&run);
        }
    }
    Ok(exit)
}

async fn ended(client: &Client, id: &str, context: &Context) -> Result<Followed, Failure> {
    // Behind the ends of the logs, so that only the states are heard.
    let nothing = From { attempt: None, offset: u64::MAX, build_offset: u64::MAX, stream: "all" };
    let mut printer = Printer::new(&context.terminal, false);
    following::follow(client, id, nothing, &mut printer, OnInterrupt::Leave).await
}
