//! `trainyard snapshot create`

use std::path::PathBuf;

use snapshots::snapshot::Taken;

use crate::cli::context::SCHEMA_VERSION;
use crate::cli::{Context, Exit, Outcome, snapshotting};
use crate::terminal::measure;

/// Takes a snapshot of a directory and keeps it until it is removed
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard snapshot create . --json")]
pub(in crate::cli) struct Args {
    /// The source directory
    #[arg(value_name = "DIR", default_value = ".", value_hint = clap::ValueHint::DirPath)]
    source: PathBuf,
    /// Takes in what symbolic links lead to, in place of the links
    #[arg(long)]
    follow_links: bool,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Takes a snapshot.
pub(super) fn create(args: &Args, context: &Context) -> Outcome {
    let workspace = context.workspace()?;
    let store = snapshotting::store(&workspace)?;
    let mut options = snapshotting::options(context, &workspace, &args.source, args.follow_links);
    options.kept = true;
    let taken = snapshotting::take(context, &store, &args.source, &options)?;
    let warnings: Vec<_> = taken.warnings.iter().map(ToString::to_string).collect();
    snapshotting::warn(context, &warnings);
    if args.json {
        context.print_json(&document(&taken))?;
    } else {
        let record = &taken.record;
        let files = measure::count(record.file_count, "file");
        let line = format!(
            "{files}, {} ({} new) in {}",
            measure::size(record.total_bytes),
            measure::size(taken.new_bytes),
            measure::duration(taken.elapsed)
        );
        context.terminal.status("Snapshot", line);
        context.print(format!("{}\n", record.id))?;
    }
    Ok(Exit::OK)
}

fn document(taken: &Taken) -> serde_json::Value {
    let record = &taken.record;
    serde_json::json!({
        "schemaVersion": SCHEMA_VERSION,
        "snapshotId": record.id,
        "fileCount": record.file_count,
        "totalBytes": record.total_bytes,
        "newObjects": taken.new_objects,
        "newBytes": taken.new_bytes,
        "elapsedMs": u64::try_from(taken.elapsed.as_millis()).unwrap_or(u64::MAX),
    })
}
