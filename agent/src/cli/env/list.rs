//! `trainyard env list`: what was built, or what has a name.

use images::cache::EnvironmentEntry;
use images::definition::curated::{self, Curated};
use images::environment::Environment;
use jiff::Timestamp;
use serde_json::json;

use super::Document;
use crate::cli::context::SCHEMA_VERSION;
use crate::cli::{Context, Exit, Outcome};
use crate::client::Start;
use crate::registered::{Register, Registered};
use crate::terminal::measure;
use crate::terminal::table::{self, Align};

/// Lists the environments that were built, or those that have names
#[derive(Debug, clap::Args)]
#[command(visible_alias = "ls", after_help = "Example:\n  trainyard env list --registered")]
pub(in crate::cli) struct Args {
    /// Those that were given a name with `env register`
    #[arg(long)]
    registered: bool,
    /// Those whose names Azure ML has, with our lists of packages
    #[arg(long, conflicts_with = "registered")]
    curated: bool,
    /// Prints a JSON array
    #[arg(long)]
    json: bool,
}

/// Lists environments.
pub(super) fn list(args: &Args, context: &Context) -> Outcome {
    if args.registered {
        return registered(args.json, context);
    }
    if args.curated {
        return curated(args.json, context);
    }
    let (client, _) = context.agent(Start::IfNone)?;
    let entries: Vec<EnvironmentEntry> =
        context.wait_for(async { Ok(client.get(&["environments"], &()).await?) })?;
    if args.json {
        context.print_json(&entries.into_iter().map(Document::of).collect::<Vec<_>>())?;
        return Ok(Exit::OK);
    }
    let now = context.terminal.out_is_terminal().then(Timestamp::now);
    let rows: Vec<_> = entries.iter().map(|entry| row(entry, now)).collect();
    show(context, HEAD, &rows, entries.iter().map(|entry| entry.key.to_string()))
}

const HEAD: &[(&str, Align)] = &[
    ("key", Align::Left),
    ("kind", Align::Left),
    ("definition", Align::Left),
    ("python", Align::Left),
    ("image", Align::Left),
    ("size", Align::Right),
    ("used", Align::Left),
    ("in use", Align::Left),
];

fn row(entry: &EnvironmentEntry, now: Option<Timestamp>) -> Vec<String> {
    let used = entry.last_used_time_utc;
    let (key, size, used) = match now {
        Some(now) => (entry.key.short(), measure::size(entry.bytes), measure::ago(used, now)),
        None => (entry.key.to_string(), entry.bytes.to_string(), measure::rfc3339(used)),
    };
    let in_use = if entry.in_use { "yes" } else { "" };
    vec![
        key,
        entry.kind.clone(),
        entry.definition.clone(),
        entry.python_version.clone().unwrap_or_default(),
        entry.image.as_ref().map(|image| image.reference.clone()).unwrap_or_default(),
        size,
        used,
        in_use.to_owned(),
    ]
}

fn registered(json: bool, context: &Context) -> Outcome {
    let all = Register::new(&context.workspace()?).list()?;
    if json {
        context.print_json(&all.iter().map(Document::of).collect::<Vec<_>>())?;
        return Ok(Exit::OK);
    }
    let now = context.terminal.out_is_terminal().then(Timestamp::now);
    let rows: Vec<_> = all.iter().map(|one| registered_row(one, now)).collect();
    let head = ["name", "version", "kind", "definition", "registered"].map(|it| (it, Align::Left));
    show(context, &head, &rows, all.iter().map(|one| format!("{}:{}", one.name, one.version)))
}

fn registered_row(one: &Registered, now: Option<Timestamp>) -> Vec<String> {
    let time = one.registered_time_utc;
    let time = now.map_or_else(|| measure::rfc3339(time), |now| measure::ago(time, now));
    let kind = kind(&one.definition.environment).to_owned();
    vec![one.name.clone(), one.version.clone(), kind, one.definition.definition.clone(), time]
}

/// Returns the kind as documents have it.
fn kind(environment: &Environment) -> &'static str {
    match environment {
        Environment::UserManaged { .. } => "userManaged",
        Environment::Requirements { .. } => "requirements",
        Environment::UvProject { .. } => "uvProject",
        Environment::Conda { .. } => "conda",
        Environment::Docker { .. } => "docker",
    }
}

fn curated(json: bool, context: &Context) -> Outcome {
    let all = curated::all();
    if json {
        let document = |one: &Curated| {
            json!({
                "schemaVersion": SCHEMA_VERSION, "name": one.name, "aliases": one.aliases,
                "description": one.description, "conda": one.conda,
            })
        };
        context.print_json(&all.iter().map(document).collect::<Vec<_>>())?;
        return Ok(Exit::OK);
    }
    let rows: Vec<_> =
        all.iter().map(|one| vec![one.name.clone(), one.description.clone()]).collect();
    let head = [("name", Align::Left), ("description", Align::Left)];
    show(context, &head, &rows, all.iter().map(|one| one.name.clone()))
}

/// Prints a table, or only the names where nothing else is wanted.
fn show(
    context: &Context,
    head: &[(&str, Align)],
    rows: &[Vec<String>],
    names: impl Iterator<Item = String>,
) -> Outcome {
    if context.terminal.is_quiet() {
        context.print(names.map(|name| name + "\n").collect::<String>())?;
    } else {
        context.print(table::render(&context.terminal, head, rows))?;
    }
    Ok(Exit::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_it_is_and_when_it_was_used() {
        let entry: EnvironmentEntry = serde_json::from_value(json!({
            "key": "5e1f20ab".repeat(8), "kind": "docker", "definition": "requirements.txt",
            "pythonVersion": "3.11.7",
            "image": {"id": "sha256:1", "reference": "trainyard-env:5e1f", "platform": "linux/amd64"},
            "bytes": 120_000_000, "createdTimeUtc": "2026-11-21T08:00:00Z",
            "lastUsedTimeUtc": "2026-11-21T09:00:00Z", "inUse": true, "path": "/e", "log": "/l",
            "builtBy": "pip 24.0",
        }))
        .unwrap();
        let now = "2026-11-21T12:00:00Z".parse().unwrap();

        insta::assert_snapshot!(row(&entry, Some(now)).join(" | "), @"5e1f20ab | docker | requirements.txt | 3.11.7 | trainyard-env:5e1f | 120.0 MB | 3h ago | yes");
        let document = serde_json::to_string(&Document::of(&entry)).unwrap();
        assert!(document.starts_with(r#"{"schemaVersion":1,"key""#), "{document}");
        assert_eq!(row(&entry, None).len(), HEAD.len());
    }
}
