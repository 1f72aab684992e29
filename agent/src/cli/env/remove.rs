//! `trainyard env remove`: built environments and names.

use serde::Serialize;

use crate::cli::context::SCHEMA_VERSION;
use crate::cli::{Context, Exit, Failure, Outcome};
use crate::client::Start;
use crate::registered::Register;
use crate::terminal::measure;

/// Removes environments; a run that needs one builds it again
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "rm",
    after_help = "Examples:
  trainyard env remove 5e1f20ab
  trainyard env remove sklearn:2"
)]
pub(in crate::cli) struct Args {
    /// Registered names, with their version or all versions, or keys or unique beginnings of them
    #[arg(required = true, value_name = "NAME|KEY")]
    names: Vec<String>,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// What was removed.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
enum Removed {
    /// Versions of a name.
    Name { name: String, versions: u64 },
    /// A built environment, by what was typed of its key.
    Environment { key: String },
}

/// Removes environments.
pub(super) fn remove(args: &Args, context: &Context) -> Outcome {
    let register = Register::new(&context.workspace()?);
    let mut removed = Vec::new();
    for text in &args.names {
        let (name, version) = split(text);
        let versions = register.remove(name, version)? as u64;
        if versions == 0 {
            remove_built(text, context)?;
            context.terminal.status("Removed", text);
            removed.push(Removed::Environment { key: text.clone() });
        } else {
            let count = measure::count(versions, "version");
            context.terminal.status("Removed", format!("the name {name} ({count})"));
            removed.push(Removed::Name { name: name.to_owned(), versions });
        }
    }
    if args.json {
        context.print_json(&serde_json::json!({
            "schemaVersion": SCHEMA_VERSION,
            "removed": removed,
        }))?;
    }
    Ok(Exit::OK)
}

fn remove_built(key: &str, context: &Context) -> Result<(), Failure> {
    let (client, _) = context.agent(Start::IfNone)?;
    context
        .wait_for(async { Ok(client.delete(&["environments", key]).await?) })
        .map_err(super::which)
}

/// Reads `NAME` or `NAME:VERSION`.
pub(super) fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    }
}
