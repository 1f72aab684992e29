//! `trainyard agent drain`: taking a machine out of service without ending a run.

use std::time::{Duration, Instant};

use runner::run_configuration::duration;

use crate::api::wire::agent::AgentStatus;
use crate::cli::{Context, Exit, Failure, Outcome};
use crate::client::{Client, Start};
use crate::terminal::measure;

/// How often the agent is asked.
const AGAIN: Duration = Duration::from_millis(250);

/// How to drain.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Waits no longer than this, as in 90, 15m or 1h30m; exits with 1 if runs are on then
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_seconds)]
    timeout: Option<u64>,
    /// Starts runs again
    #[arg(long, conflicts_with = "timeout")]
    undo: bool,
    /// Prints one JSON document: the agent's status
    #[arg(long)]
    json: bool,
}

/// Drains the agent, or ends that.
pub(super) fn drain(args: &Args, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::Never)?;
    let mut status = context.wait_for(async { Ok(client.drain(args.undo).await?) })?;
    if args.undo {
        let waiting = measure::count(status.runs.queued as u64, "run");
        context
            .terminal
            .status("Resumed", format!("the agent starts runs again; {waiting} in the queue"));
    } else {
        context.terminal.status(
            "Draining",
            format!("agent (pid {}); `trainyard agent drain --undo` ends that", status.pid),
        );
        status = context.wait_for(until_drained(&client, context, status, args.timeout))?;
        let waiting = measure::count(status.runs.queued as u64, "run");
        context.terminal.status("Drained", format!("no run is on; {waiting} in the queue"));
    }
    if args.json {
        context.print_json(&status)?;
    }
    Ok(Exit::OK)
}

/// Waits until no run is on, and says when their number changes.
async fn until_drained(
    client: &Client,
    context: &Context,
    mut status: AgentStatus,
    timeout: Option<u64>,
) -> Result<AgentStatus, Failure> {
    let begun = Instant::now();
    let mut said = 0;
    while status.runs.running > 0 {
        let on = measure::count(status.runs.running as u64, "run");
        if timeout.is_some_and(|seconds| begun.elapsed() >= Duration::from_secs(seconds)) {
            let message = anyhow::anyhow!("{on} still on; the agent goes on draining");
            let hint = "`trainyard list` shows what is on, `trainyard cancel RUN` ends one";
            return Err(Failure::failed(message).hint(hint));
        }
        if status.runs.running != said {
            said = status.runs.running;
            context.terminal.status("Waiting", format!("for {on} to end"));
        }
        tokio::time::sleep(AGAIN).await;
        status = client.status().await?;
        if status.draining.is_none() {
            let message = anyhow::anyhow!("somebody ended the drain: the agent starts runs again");
            return Err(Failure::failed(message));
        }
    }
    Ok(status)
}
