//! `trainyard env`: environments, those that were built and those that have names.

mod asked;
mod build;
mod explain;
mod list;
mod register;
mod remove;
mod show;

use images::cache::{CacheOptions, EnvironmentCache, EnvironmentError};
use images::host::HostVariables;
use serde::Serialize;
use snapshots::store::local::LocalStore;

use super::context::SCHEMA_VERSION;
use super::{Context, Failure, Outcome, snapshotting};
use crate::workspace::Workspace;

/// Lists, shows, builds, names, compares and removes environments
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    List(list::Args),
    Show(show::Args),
    Build(build::Args),
    Register(register::Args),
    Explain(explain::Args),
    Remove(remove::Args),
}

/// Carries out one of the commands.
pub(super) fn env(command: Command, context: &Context) -> Outcome {
    match command {
        Command::List(args) => list::list(&args, context),
        Command::Show(args) => show::show(&args, context),
        Command::Build(args) => build::build(&args, context),
        Command::Register(args) => register::register(&args, context),
        Command::Explain(args) => explain::explain(&args, context),
        Command::Remove(args) => remove::remove(&args, context),
    }
}

/// A document as `--json` has it: what version it is comes first.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<T> {
    schema_version: u32,
    #[serde(flatten)]
    value: T,
}

impl<T> Document<T> {
    fn of(value: T) -> Self {
        Self { schema_version: SCHEMA_VERSION, value }
    }
}

/// Opens the environments of `workspace` as its agent does, with the same settings, so that what
/// either of them builds is the same.
fn open(
    context: &Context,
    workspace: &Workspace,
) -> Result<(EnvironmentCache, LocalStore), Failure> {
    workspace.create().map_err(|error| {
        let hint = error.hint();
        Failure::failed(error).maybe_hint(hint)
    })?;
    let store = snapshotting::store(workspace)?;
    let options = CacheOptions {
        host: HostVariables::new(std::env::vars_os()),
        settings: context.settings.build_settings(),
        home: workspace.label(),
    };
    Ok((EnvironmentCache::open(&workspace.environments(), options)?, store))
}

/// Adds how to find the right key.
fn which(failure: Failure) -> Failure {
    failure.hint("`trainyard env list` shows the keys")
}

impl From<EnvironmentError> for Failure {
    fn from(error: EnvironmentError) -> Self {
        let hint = error.hint();
        Self::failed(error).maybe_hint(hint)
    }
}
