//! `trainyard outputs`: the files a run left.

mod copy;

use std::path::PathBuf;

use super::context::SCHEMA_VERSION;
use super::target::waiting;
use super::{Context, Exit, Failure, Outcome, reference};
use crate::api::wire::run::{OutputFile, Run};
use crate::client::Start;
use crate::terminal::measure;
use crate::terminal::table::{self, Align};

/// Lists the files a run left in outputs/ and logs/, or copies them
///
/// Of a run that is still on on another machine: what is there now, which is fetched first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trainyard outputs @\n  trainyard outputs @ results/")]
pub(super) struct Args {
    /// A run's id, a unique beginning of it, its name, or @ for the latest
    #[arg(value_name = "RUN", value_parser = reference::run, add = reference::runs(), default_value = "@")]
    run: String,
    /// Directory to copy the files into
    #[arg(value_name = "DEST", value_hint = clap::ValueHint::DirPath)]
    destination: Option<PathBuf>,
    /// Takes what this attempt left, from 1 [default: the latest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    /// Overwrites files that are there
    #[arg(long, requires = "destination")]
    force: bool,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Lists or copies a run's files.
pub(super) fn outputs(args: &Args, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    let mut run = context.wait_for(async { Ok(client.run(&args.run).await?) })?;
    let id = run.summary.run_id.clone();
    let attempt = args.attempt.filter(|number| *number != latest(&run));
    if let Some(number) = attempt {
        run.output_files = left_by(&run, number)?;
    } else if !run.summary.status.is_ended() {
        let fetching = async { Ok(client.outputs(&id).await?) };
        let so_far = waiting(context, "Fetching", &run.summary.display_name, fetching)?;
        so_far.notes.iter().for_each(|note| context.terminal.warning(note));
        run.output_files = so_far.output_files;
    }
    if let Some(destination) = &args.destination {
        let bytes = copy::copy(context, &client, (&run, attempt), destination, args.force)?;
        let files = measure::count(run.output_files.len() as u64, "file");
        let line = format!("{files}, {} to {}", measure::size(bytes), destination.display());
        context.terminal.status("Copied", line);
    }
    if args.json {
        context.print_json(&serde_json::json!({
            "schemaVersion": SCHEMA_VERSION,
            "runId": run.summary.run_id,
            "outputFiles": run.output_files,
        }))?;
    } else if args.destination.is_none() {
        let rows: Vec<_> = run.output_files.iter().map(|file| row(file, context)).collect();
        context.print(table::render(&context.terminal, HEAD, &rows))?;
    }
    Ok(Exit::OK)
}

/// Returns the number of the attempt whose outputs are the run's: the one that is on or comes next.
fn latest(run: &Run) -> u32 {
    run.summary.attempt.as_ref().map_or(1, |attempt| attempt.number)
}

/// Returns what an attempt before the latest left.
fn left_by(run: &Run, number: u32) -> Result<Vec<OutputFile>, Failure> {
    let mut attempts = run.attempts.iter().rev();
    let attempt = attempts.find(|attempt| attempt.number == number).ok_or_else(|| {
        Failure::usage(format!("{} has no attempt {number}", run.summary.display_name))
            .hint(format!("it has had {}", measure::count(latest(run).into(), "attempt")))
    })?;
    Ok(attempt.output_files.clone())
}

const HEAD: &[(&str, Align)] = &[("path", Align::Left), ("size", Align::Right)];

fn row(file: &OutputFile, context: &Context) -> Vec<String> {
    let size = if context.terminal.out_is_terminal() {
        measure::size(file.size)
    } else {
        file.size.to_string()
    };
    vec![file.path.clone(), size]
}
