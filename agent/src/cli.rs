//! The command line: what was typed, and which file carries it out.
//!
//! One file per command holds its arguments and its function. A command gets a [`Context`] and
//! returns an exit code or a [`Failure`]; only [`main`] prints failures and ends the process.

mod agent;
mod cancel;
mod comparison;
mod completions;
mod config;
mod context;
mod diff;
mod doctor;
mod ending;
mod env;
mod explain;
mod failure;
mod following;
mod gc;
mod list;
mod logs;
mod man;
mod outputs;
mod queue;
mod reference;
mod remove;
mod rerun;
mod run;
mod sandbox;
mod show;
mod snapshot;
mod snapshotting;
mod submit;
mod target;
mod token;
mod variables;
mod wait;
mod waiting;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use context::Context;
pub(crate) use failure::{Exit, Failure, Outcome};

use crate::terminal::{ColorWhen, Terminal};

/// Runs training scripts where you already have a computer
///
/// Takes a snapshot of the source directory, prepares the Python environment, runs the script,
/// and keeps every log byte, metric and output.
#[derive(Debug, Parser)]
#[command(
    name = "trainyard",
    version,
    arg_required_else_help = true,
    infer_subcommands = false,
    after_help = "Example:\n  trainyard run train.py --epochs 3"
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command has.
#[derive(Clone, Debug, clap::Args)]
struct Global {
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", value_enum, help_heading = "Global options")]
    color: Option<ColorWhen>,
    /// Leaves out our own lines but warnings and errors; lists show ids only
    #[arg(short, long, global = true, help_heading = "Global options")]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Args>),
    Submit(submit::Args),
    List(list::Args),
    Show(show::Args),
    Logs(logs::Args),
    Wait(wait::Args),
    Cancel(cancel::Args),
    Rerun(rerun::Args),
    Remove(remove::Args),
    Outputs(outputs::Args),
    Diff(diff::Args),
    Explain(explain::Args),
    #[command(subcommand)]
    Queue(queue::Command),
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    #[command(subcommand)]
    Env(env::Command),
    #[command(subcommand)]
    Target(target::Command),
    #[command(subcommand)]
    Sandbox(sandbox::Command),
    #[command(subcommand)]
    Agent(agent::Command),
    #[command(subcommand)]
    Token(token::Command),
    Gc(gc::Args),
    Doctor(doctor::Args),
    #[command(subcommand)]
    Config(config::Command),
    Completions(completions::Args),
    Man(man::Args),
    /// Carries out the run in a run directory (started by the agent)
    #[command(hide = true)]
    Supervise {
        /// The run directory
        run_directory: std::path::PathBuf,
    },
}

/// Says whether `file` is a job file, for who looks for those that break us.
pub(crate) fn read_job_file(file: &Path) -> Result<(), Failure> {
    run::job_file::read(file).map(drop)
}

/// Reads `arguments` (the program's name first) and does what they say.
pub(crate) fn main(arguments: Vec<OsString>) -> ExitCode {
    completions::answer_shell(command);
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return refuse(&error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let is_run = matches!(cli.command, Command::Run(_) | Command::Wait(_));
    let plain = Terminal::new(cli.global.color.unwrap_or_default(), cli.global.quiet);
    let outcome = Context::new(cli.global.color, cli.global.quiet)
        .and_then(|context| carry_out(cli.command, &context));
    let exit = outcome.unwrap_or_else(|failure| {
        for note in failure.notes() {
            plain.warning(note);
        }
        if let Some(message) = failure.message() {
            plain.error(message);
        }
        if let Some(step) = failure.next_step() {
            plain.help(step);
        }
        failure.exit(is_run)
    });
    ExitCode::from(exit.0)
}

/// Returns the whole tree of commands.
fn command() -> clap::Command {
    Cli::command()
}

fn carry_out(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Run(args) => run::run(&args, context),
        Command::Submit(args) => submit::submit(&args, context),
        Command::List(args) => list::list(&args, context),
        Command::Show(args) => show::show(&args, context),
        Command::Logs(args) => logs::logs(&args, context),
        Command::Wait(args) => wait::wait(&args, context),
        Command::Cancel(args) => cancel::cancel(&args, context),
        Command::Rerun(args) => rerun::rerun(&args, context),
        Command::Remove(args) => remove::remove(&args, context),
        Command::Outputs(args) => outputs::outputs(&args, context),
        Command::Diff(args) => diff::diff(&args, context),
        Command::Explain(args) => explain::explain(&args, context),
        Command::Queue(command) => queue::queue(&command, context),
        Command::Snapshot(command) => snapshot::snapshot(command, context),
        Command::Env(command) => env::env(command, context),
        Command::Target(command) => target::target(&command, context),
        Command::Sandbox(command) => sandbox::sandbox(&command, context),
        Command::Agent(command) => agent::agent(&command, context),
        Command::Token(command) => token::token(&command, context),
        Command::Gc(args) => gc::gc(&args, context),
        Command::Doctor(args) => doctor::doctor(&args, context),
        Command::Config(command) => config::config(&command, context),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => man::man(&args, context),
        // `main` has taken every right call before we are asked.
        Command::Supervise { .. } => Err(Failure::usage("supervise takes a run directory only")),
    }
}

/// Prints what clap has to say: help and version on standard output, complaints on standard error.
fn refuse(error: &clap::Error) -> ExitCode {
    // A reader that is gone needs no help text.
    error.print().ok();
    ExitCode::from(refuse_code(error))
}

fn refuse_code(error: &clap::Error) -> u8 {
    if error.use_stderr() { Exit::USAGE.0 } else { Exit::OK.0 }
}

#[cfg(test)]
mod tests;
