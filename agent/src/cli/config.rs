//! `trainyard config`: the settings, and who made them.

use super::{Context, Exit, Outcome};
use crate::cli::context::SCHEMA_VERSION;
use crate::config::{KEYS, Key, Kind, Origin, Setting};

/// Shows the settings
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Shows every setting
    #[command(after_help = "Example:\n  trainyard config show --origin")]
    Show {
        /// With who made it: option, variable, file and line, or default
        #[arg(long)]
        origin: bool,
        /// Prints one JSON document
        #[arg(long)]
        json: bool,
    },
}

/// Carries out one of the commands.
pub(super) fn config(command: &Command, context: &Context) -> Outcome {
    let Command::Show { origin, json } = command;
    if *json {
        context.print_json(&document(context))?;
        return Ok(Exit::OK);
    }
    let mut text = String::new();
    for definition in KEYS {
        let (name, kind) = (definition.name, definition.kind);
        let settings = settings(context, definition.key, name, kind);
        if settings.is_empty() {
            text.push_str(&format!("# {name}: {}\n", definition.about));
        }
        for (name, setting) in settings {
            let value = crate::terminal::plain_bytes(setting.value.as_encoded_bytes());
            let value = if kind == Kind::List { value } else { format!("{value:?}") };
            let said_by = said_by(&setting.origin, *origin);
            text.push_str(&format!("{name} = {value}{said_by}\n"));
        }
    }
    context.print(text)?;
    Ok(Exit::OK)
}

fn said_by(origin: &Origin, asked: bool) -> String {
    if asked { format!("  # {origin}") } else { String::new() }
}

/// Returns what was set for a key: at most one setting, or the entries of a table by their names.
fn settings(context: &Context, key: Key, name: &str, kind: Kind) -> Vec<(String, Setting)> {
    if kind == Kind::Table {
        let entries = context.settings.entries(key);
        return entries.map(|(entry, made)| (format!("{name}.{entry:?}"), made.clone())).collect();
    }
    context.settings.get(key).map(|setting| (name.to_owned(), setting)).into_iter().collect()
}

fn document(context: &Context) -> serde_json::Value {
    let one = |setting: &Setting| {
        serde_json::json!({
            "value": setting.value.to_string_lossy(),
            "origin": setting.origin.to_string(),
        })
    };
    let settings: serde_json::Map<_, _> = KEYS
        .iter()
        .map(|definition| {
            let value = match definition.kind {
                Kind::Table => {
                    let entries = context.settings.entries(definition.key);
                    entries.map(|(name, setting)| (name.to_owned(), one(setting))).collect()
                }
                _ => {
                    context.settings.get(definition.key).map(|made| one(&made)).unwrap_or_default()
                }
            };
            (definition.name.to_owned(), value)
        })
        .collect();
    serde_json::json!({ "schemaVersion": SCHEMA_VERSION, "settings": settings })
}
