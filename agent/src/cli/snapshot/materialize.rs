//! `trainyard snapshot materialize`

use std::path::PathBuf;

use snapshots::materialize::{self, MaterializeError};

use crate::cli::context::SCHEMA_VERSION;
use crate::cli::{Context, Exit, Failure, Outcome, reference, snapshotting};
use crate::terminal::measure;

/// Lays a snapshot out in a directory
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard snapshot materialize 8f3a1c2 /tmp/as-it-was")]
pub(in crate::cli) struct Args {
    /// A snapshot's id or a unique beginning of it, or a run
    #[arg(value_name = "ID")]
    snapshot: String,
    /// A directory that is empty or does not exist
    #[arg(value_name = "DEST", value_hint = clap::ValueHint::DirPath)]
    destination: PathBuf,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Lays a snapshot out.
pub(super) fn materialize(args: &Args, context: &Context) -> Outcome {
    let store = snapshotting::store(&context.workspace()?)?;
    let id = reference::snapshot(context, &store, &args.snapshot)?;
    let made = materialize::materialize(&store, &id, &args.destination, 0).map_err(|error| {
        let hint = error.hint();
        let failure = match error {
            MaterializeError::NotEmpty { .. } => Failure::usage(error),
            error => Failure::failed(error),
        };
        failure.maybe_hint(hint)
    })?;
    if args.json {
        context.print_json(&serde_json::json!({
            "schemaVersion": SCHEMA_VERSION,
            "snapshotId": id,
            "fileCount": made.files,
            "totalBytes": made.bytes,
        }))?;
    } else {
        let files = measure::count(made.files, "file");
        let place = args.destination.display();
        let line = format!("{files}, {} in {place}", measure::size(made.bytes));
        context.terminal.status("Laid out", line);
    }
    Ok(Exit::OK)
}
