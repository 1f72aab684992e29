//! `trainyard snapshot`: what a snapshot holds and would hold. Only `send` needs an agent.

mod create;
mod diff;
mod explain;
mod files;
mod list;
mod materialize;
mod remove;
mod send;

use super::{Context, Outcome};

/// Takes, explains, compares and lays out snapshots
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Create(create::Args),
    Files(files::Args),
    Explain(explain::Args),
    Diff(diff::Args),
    Materialize(materialize::Args),
    List(list::Args),
    Remove(remove::Args),
    Send(send::Args),
}

/// Carries out one of the commands.
pub(super) fn snapshot(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Create(args) => create::create(&args, context),
        Command::Files(args) => files::files(&args, context),
        Command::Explain(args) => explain::explain(&args, context),
        Command::Diff(args) => diff::diff(&args, context),
        Command::Materialize(args) => materialize::materialize(&args, context),
        Command::List(args) => list::list(&args, context),
        Command::Remove(args) => remove::remove(&args, context),
        Command::Send(args) => send::send(&args, context),
    }
}
