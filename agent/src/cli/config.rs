//! `trainyard config`: the settings, and who made them.

use super::{Context, Exit, Outcome};
use crate::cli::context::SCHEMA_VERSION;
use crate::config::KEYS;

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
        let line = match context.settings.get(definition.key) {
            Some(setting) => {
                let value = crate::terminal::plain_bytes(setting.value.as_encoded_bytes());
                let said_by =
                    if *origin { format!("  # {}", setting.origin) } else { String::new() };
                format!("{} = {value:?}{said_by}\n", definition.name)
            }
            None => format!("# {}: {}\n", definition.name, definition.about),
        };
        text.push_str(&line);
    }
    context.print(text)?;
    Ok(Exit::OK)
}

fn document(context: &Context) -> serde_json::Value {
    let settings: serde_json::Map<_, _> = KEYS
        .iter()
        .map(|definition| {
            let setting = context.settings.get(definition.key).map(|setting| {
                serde_json::json!({
                    "value": setting.value.to_string_lossy(),
                    "origin": setting.origin.to_string(),
                })
            });
            (definition.name.to_owned(), setting.unwrap_or_default())
        })
        .collect();
    serde_json::json!({ "schemaVersion": SCHEMA_VERSION, "settings": settings })
}
