//! `trainyard queue`: the runs that wait, and how.

use jiff::Timestamp;

use super::list::user;
use super::run::environment::moved;
use super::{Context, Exit, Outcome, reference, target, waiting};
use crate::api::wire::run::RunSummary;
use crate::api::wire::waiting::ChangeWaiting;
use crate::client::{ListQuery, Start};
use crate::run::status::RunStatus;
use crate::terminal::measure;
use crate::terminal::table::{self, Align};

/// Shows the runs that wait, and changes how they do
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Lists your runs that wait, in the order in which they start
    #[command(after_help = "Example:\n  trainyard queue list")]
    List {
        /// Lists those of all users, and whose they are; for who looks after the agent
        #[arg(long)]
        all_users: bool,
        /// Prints a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Holds runs: they wait until they are released
    #[command(after_help = "Example:\n  trainyard queue hold swift-otter-12")]
    Hold(Which),
    /// Releases runs that are held
    #[command(after_help = "Example:\n  trainyard queue release swift-otter-12")]
    Release(Which),
    /// Gives a run another priority: higher goes first
    #[command(after_help = "Example:\n  trainyard queue priority swift-otter-12 5")]
    Priority {
        /// A run's id, a unique beginning of it, its name, or @ for the latest
        #[arg(value_name = "RUN", value_parser = reference::run, add = reference::runs())]
        run: String,
        /// Its priority; 0 is that of runs for which nobody named one
        #[arg(value_name = "N", allow_negative_numbers = true)]
        priority: i32,
        /// Prints the run as a line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Moves a run to another compute target
    #[command(after_help = "Example:\n  trainyard queue move swift-otter-12 gpu-vm")]
    Move {
        /// A run's id, a unique beginning of it, its name, or @ for the latest
        #[arg(value_name = "RUN", value_parser = reference::run, add = reference::runs())]
        run: String,
        /// The compute target
        #[arg(value_name = "TARGET", add = reference::targets())]
        target: String,
        /// Prints the run as a line of JSON
        #[arg(long)]
        json: bool,
    },
}

/// Some runs.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Runs: ids, unique beginnings, names, or @ for the latest
    #[arg(required = true, value_name = "RUN", value_parser = reference::run, add = reference::runs())]
    runs: Vec<String>,
    /// Prints each run as a line of JSON
    #[arg(long)]
    json: bool,
}

/// Carries out `trainyard queue`.
pub(super) fn queue(command: &Command, context: &Context) -> Outcome {
    match command {
        Command::List { all_users, json } => list(*all_users, *json, context),
        Command::Hold(Which { runs, json }) => {
            let change = ChangeWaiting { held: Some(true), ..ChangeWaiting::default() };
            change_all(runs, &change, ("Held", *json), context)
        }
        Command::Release(Which { runs, json }) => {
            let change = ChangeWaiting { held: Some(false), ..ChangeWaiting::default() };
            change_all(runs, &change, ("Released", *json), context)
        }
        Command::Priority { run, priority, json } => {
            let change = ChangeWaiting { priority: Some(*priority), ..ChangeWaiting::default() };
            change_all(std::slice::from_ref(run), &change, ("Prioritised", *json), context)
        }
        Command::Move { run, target, json } => move_to(run, target, *json, context),
    }
}

fn change_all(
    runs: &[String],
    change: &ChangeWaiting,
    (verb, json): (&str, bool),
    context: &Context,
) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    for reference in runs {
        let run =
            context.wait_for(async { Ok(client.change_waiting(reference, change).await?) })?;
        if json {
            context.print_line(&run)?;
        } else {
            context.terminal.status(verb, &run.summary.display_name);
        }
    }
    Ok(Exit::OK)
}

fn move_to(reference: &str, to: &str, json: bool, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    let run = context.wait_for(async { Ok(client.run(reference).await?) })?;
    target::check_known(context, &client, to)?;
    let mut request = run.request;
    if request.target != to {
        let notes = moved(&mut request, (to, context.is_here()?), &context.settings)?;
        notes.iter().for_each(|note| context.terminal.warning(note));
    }
    let change = ChangeWaiting {
        target: Some(to.to_owned()),
        environment: Some(request.environment),
        ..ChangeWaiting::default()
    };
    change_all(&[run.summary.run_id], &change, ("Moved", json), context)
}

fn list(all_users: bool, json: bool, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    let status = Some(RunStatus::Queued.name().to_owned());
    let query = ListQuery { status, all_users, ..ListQuery::default() };
    let mut runs = context.wait_for(async { Ok(client.runs(&query).await?) })?;
    // Newest first is the order in which they came; those that cannot start come last.
    runs.reverse();
    runs.sort_by_key(|run| (run.target.clone(), run.position.is_none(), run.position));
    if json {
        context.print_json(&runs)?;
    } else if context.terminal.is_quiet() {
        context.print(runs.iter().map(|run| format!("{}\n", run.run_id)).collect::<String>())?;
    } else if runs.is_empty() && context.terminal.out_is_terminal() {
        context.terminal.help("no run waits");
    } else {
        let now = context.terminal.out_is_terminal().then(Timestamp::now);
        let mut head = HEAD.to_vec();
        let mut rows: Vec<_> = runs.iter().map(|run| row(run, now)).collect();
        if all_users {
            head.push(("user", Align::Left));
            rows.iter_mut().zip(&runs).for_each(|(row, run)| row.push(user(run)));
        }
        context.print(table::render(&context.terminal, &head, &rows))?;
    }
    Ok(Exit::OK)
}

const HEAD: &[(&str, Align)] = &[
    ("place", Align::Right),
    ("name", Align::Left),
    ("target", Align::Left),
    ("priority", Align::Right),
    ("created", Align::Left),
    ("waits for", Align::Left),
];

/// Returns a run's cells; for people, who have a `now`, with names and relative times.
fn row(run: &RunSummary, now: Option<Timestamp>) -> Vec<String> {
    let since = match now {
        Some(now) => measure::ago(run.created_time_utc, now),
        None => measure::rfc3339(run.created_time_utc),
    };
    let name = if now.is_some() { &run.display_name } else { &run.run_id };
    let now = now.unwrap_or_else(Timestamp::now);
    let waits_for = run.waits_for.as_ref().map(|it| waiting::word(it, run, now));
    vec![
        run.position.map(|position| position.to_string()).unwrap_or_default(),
        name.clone(),
        run.target.clone(),
        run.priority.to_string(),
        since,
        waits_for.unwrap_or_default(),
    ]
}
