//! `trainyard env`: the environments that were built.

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use images::cache::{
    CacheOptions, EnvironmentCache, EnvironmentDetails, EnvironmentEntry, EnvironmentError,
};
use images::host::HostVariables;
use jiff::Timestamp;
use runner::run_configuration::EnvironmentChoice;

use super::context::SCHEMA_VERSION;
use super::following::Printer;
use super::run::environment::Chooser;
use super::run::place::Source;
use super::{Context, Exit, Failure, Outcome};
use crate::client::Start;
use crate::terminal::table::{self, Align};
use crate::terminal::{Plain, Progress, measure};

/// Lists, shows, builds and removes environments
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Lists the environments that were built
    #[command(visible_alias = "ls", after_help = "Example:\n  trainyard env list")]
    List {
        /// Prints a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Shows an environment with its packages
    #[command(after_help = "Example:\n  trainyard env show 5e1f20ab")]
    Show {
        /// An environment's key or a unique beginning of it
        #[arg(value_name = "KEY")]
        key: String,
        /// Shows the log of its build
        #[arg(long)]
        log: bool,
        /// Prints one JSON document
        #[arg(long, conflicts_with = "log")]
        json: bool,
    },
    /// Removes environments; a run that needs one builds it again
    #[command(visible_alias = "rm", after_help = "Example:\n  trainyard env remove 5e1f20ab")]
    Remove {
        /// Keys or unique beginnings of them
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Builds an environment before a run needs it
    #[command(after_help = "Example:\n  trainyard env build requirements.txt")]
    Build {
        /// The definition
        #[arg(value_name = "FILE")]
        file: std::path::PathBuf,
    },
    /// Gives a definition a name (not yet)
    #[command(after_help = "Example:\n  trainyard env register sklearn requirements.txt")]
    Register {
        /// The name
        #[arg(value_name = "NAME")]
        name: String,
        /// The definition
        #[arg(value_name = "FILE")]
        file: std::path::PathBuf,
    },
    /// Says what an environment's key is made of (not yet)
    #[command(after_help = "Example:\n  trainyard env explain requirements.txt")]
    Explain {
        /// The definition
        #[arg(value_name = "FILE")]
        file: std::path::PathBuf,
    },
}

/// Carries out one of the commands.
pub(super) fn env(command: Command, context: &Context) -> Outcome {
    match command {
        Command::List { json } => list(json, context),
        Command::Show { key, log: true, .. } => log(&key, context),
        Command::Show { key, json, .. } => show(&key, json, context),
        Command::Remove { keys } => remove(&keys, context),
        Command::Build { file } => build(&file, context),
        Command::Register { .. } => Err(Failure::not_yet("env register")),
        Command::Explain { .. } => Err(Failure::not_yet("env explain")),
    }
}

const HEAD: &[(&str, Align)] = &[
    ("key", Align::Left),
    ("definition", Align::Left),
    ("python", Align::Left),
    ("size", Align::Right),
    ("used", Align::Left),
    ("in use", Align::Left),
];

fn list(json: bool, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    let entries: Vec<EnvironmentEntry> =
        context.wait_for(async { Ok(client.get(&["environments"], &()).await?) })?;
    if json {
        let documents: Result<Vec<_>, _> = entries.iter().map(document).collect();
        context.print_json(&documents?)?;
    } else if context.terminal.is_quiet() {
        context
            .print(entries.iter().map(|entry| format!("{}\n", entry.key)).collect::<String>())?;
    } else {
        let now = context.terminal.out_is_terminal().then(Timestamp::now);
        let rows: Vec<_> = entries.iter().map(|entry| row(entry, now)).collect();
        context.print(table::render(&context.terminal, HEAD, &rows))?;
    }
    Ok(Exit::OK)
}

fn row(entry: &EnvironmentEntry, now: Option<Timestamp>) -> Vec<String> {
    let used = entry.last_used_time_utc;
    let (key, size, used) = match now {
        Some(now) => (entry.key.short(), measure::size(entry.bytes), measure::ago(used, now)),
        None => (entry.key.to_string(), entry.bytes.to_string(), measure::rfc3339(used)),
    };
    let in_use = if entry.in_use { "yes" } else { "" };
    let python = entry.python_version.clone().unwrap_or_default();
    vec![key, entry.definition.clone(), python, size, used, in_use.to_owned()]
}

fn document(value: &impl serde::Serialize) -> Result<serde_json::Value, Failure> {
    let mut document = serde_json::to_value(value).map_err(Failure::failed)?;
    document["schemaVersion"] = SCHEMA_VERSION.into();
    Ok(document)
}

fn show(key: &str, json: bool, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    let details: EnvironmentDetails = context
        .wait_for(async { Ok(client.get(&["environments", key], &()).await?) })
        .map_err(which)?;
    if json {
        context.print_json(&document(&details)?)?;
        return Ok(Exit::OK);
    }
    let entry = &details.entry;
    let mut text = String::new();
    for (name, value) in [
        ("Key", entry.key.to_string()),
        ("Kind", entry.kind.clone()),
        ("Definition", entry.definition.clone()),
        ("Python", python(&details)),
        ("Built by", entry.built_by.clone()),
        ("Size", measure::size(entry.bytes)),
        ("Directory", entry.path.display().to_string()),
        ("Packages", details.packages.len().to_string()),
    ] {
        writeln!(text, "{name:<11} {}", Plain(&value)).expect("a string takes every text");
    }
    for package in &details.packages {
        writeln!(text, "  {}", Plain(package)).expect("a string takes every text");
    }
    context.print(text)?;
    Ok(Exit::OK)
}

fn python(details: &EnvironmentDetails) -> String {
    let version = details.entry.python_version.clone().unwrap_or_default();
    match &details.base {
        Some(base) => format!("{version} ({})", base.executable.display()),
        None => version,
    }
}

/// Adds how to find the right key.
fn which(failure: Failure) -> Failure {
    failure.hint("`trainyard env list` shows the keys")
}

fn log(key: &str, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    let bytes = context
        .wait_for(async { Ok(client.get_bytes(&["environments", key, "log"]).await?) })
        .map_err(which)?;
    let mut printer = Printer::new(&context.terminal, false);
    printer.write(&bytes)?;
    printer.finish()?;
    Ok(Exit::OK)
}

fn remove(keys: &[String], context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    for key in keys {
        context
            .wait_for(async { Ok(client.delete(&["environments", key]).await?) })
            .map_err(which)?;
        context.terminal.status("Removed", key);
    }
    Ok(Exit::OK)
}

/// Builds here, with this user's rights, into the cache that the agent uses too: a build that
/// either of them is busy with is waited for by the other.
fn build(file: &Path, context: &Context) -> Outcome {
    let workspace = context.workspace()?;
    let source = Source::open(Path::new("."))?;
    let choice = EnvironmentChoice::File { path: file.to_owned() };
    let chosen = Chooser::new(context, &source)?.choose(&choice)?;
    let host = HostVariables::new(std::env::vars_os());
    let cache = EnvironmentCache::open(
        &workspace.environments(),
        CacheOptions { host, ..CacheOptions::default() },
    )?;
    let progress = Progress::new(&context.terminal, "Building");
    let mut printer = Printer::new(&context.terminal, false);
    let mut show = |bytes: &[u8]| {
        if context.terminal.err_is_terminal() {
            progress.set(|| last_line(bytes));
        } else {
            // A log that nobody reads any more stops no build.
            printer.build(bytes).ok();
        }
    };
    let prepared = cache.prepare(&chosen.environment, &mut show, &AtomicBool::new(false))?;
    drop(progress);
    let verb = if prepared.reused { "Reused" } else { "Built" };
    context.terminal.status(verb, &prepared.name);
    if let Some(key) = &prepared.key {
        context.print(format!("{key}\n"))?;
    }
    Ok(Exit::OK)
}

fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

impl From<EnvironmentError> for Failure {
    fn from(error: EnvironmentError) -> Self {
        let hint = error.hint();
        Self::failed(error).maybe_hint(hint)
    }
}
