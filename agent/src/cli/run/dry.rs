//! `trainyard run --dry-run`: what would be sent and run.

use std::fmt::Write;

use super::configuration::Wanted;
use super::environment::Chosen;
use crate::cli::context::SCHEMA_VERSION;
use crate::cli::{Context, Exit, Outcome, snapshotting};
use crate::terminal::{Plain, measure};

/// Says what would happen; nothing does.
pub(super) fn show(context: &Context, wanted: &Wanted, chosen: &Chosen, json: bool) -> Outcome {
    let workspace = context.workspace()?;
    let source = wanted.source.directory();
    let options = snapshotting::options(context, &workspace, source, false);
    let listing = snapshots::walk::list(source, &options)?;
    let mut warnings = wanted.notes.clone();
    warnings.extend(listing.warnings.iter().map(ToString::to_string));
    let facts = facts(wanted, chosen);
    if json {
        let facts: serde_json::Map<_, _> =
            facts.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        context.print_json(&serde_json::json!({
            "schemaVersion": SCHEMA_VERSION,
            "dryRun": facts,
            "environmentVariables":
                wanted.configuration.environment_variables.keys().collect::<Vec<_>>(),
            "tags": wanted.configuration.tags,
            "fileCount": listing.files.len(),
            "totalBytes": listing.total_bytes,
            "warnings": warnings,
        }))?;
        return Ok(Exit::OK);
    }
    let mut text = String::new();
    for (name, value) in facts {
        writeln!(text, "{name:<12} {}", Plain(&value)).expect("a string takes every text");
    }
    let files = measure::count(listing.files.len() as u64, "file");
    let bytes = measure::size(listing.total_bytes);
    writeln!(text, "{:<12} {files}, {bytes}", "snapshot").expect("a string takes every text");
    context.print(text)?;
    snapshotting::warn(context, &warnings);
    Ok(Exit::OK)
}

fn facts(wanted: &Wanted, chosen: &Chosen) -> Vec<(&'static str, String)> {
    let configuration = &wanted.configuration;
    let mut facts = vec![
        ("source", wanted.source.directory().display().to_string()),
        ("experiment", configuration.experiment.clone().unwrap_or_default()),
        ("target", configuration.target.clone()),
        ("environment", format!("{} ({})", chosen.name, chosen.because)),
        (
            "python",
            chosen
                .environment
                .interpreter()
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
        ),
    ];
    match (&configuration.script, &configuration.command) {
        (Some(script), _) => {
            let words: Vec<_> = std::iter::once(script).chain(&configuration.arguments).collect();
            facts.push(("script", format!("{words:?}")));
        }
        (None, command) => facts.push(("command", command.clone().unwrap_or_default())),
    }
    if let Some(seconds) = configuration.timeout_seconds {
        facts.push(("timeout", format!("{seconds} s")));
    }
    facts
}
