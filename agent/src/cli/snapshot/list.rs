//! `trainyard snapshot list`

use jiff::Timestamp;
use snapshots::snapshot::SnapshotRecord;

use crate::cli::context::SCHEMA_VERSION;
use crate::cli::{Context, Exit, Outcome, snapshotting};
use crate::terminal::measure;
use crate::terminal::table::{self, Align};

/// Lists the snapshots in the store, newest first
#[derive(Debug, clap::Args)]
#[command(visible_alias = "ls", after_help = "Example:\n  trainyard snapshot list")]
pub(in crate::cli) struct Args {
    /// Prints a JSON array
    #[arg(long)]
    json: bool,
}

/// Lists snapshots.
pub(super) fn list(args: &Args, context: &Context) -> Outcome {
    let store = snapshotting::store(&context.workspace()?)?;
    let mut records = store.records()?;
    records.sort_by_key(|record| std::cmp::Reverse(record.created_time_utc));
    if args.json {
        let documents: Vec<_> = records.iter().map(document).collect();
        context.print_json(&documents)?;
    } else if context.terminal.is_quiet() {
        context
            .print(records.iter().map(|record| format!("{}\n", record.id)).collect::<String>())?;
    } else {
        let now = context.terminal.out_is_terminal().then(Timestamp::now);
        let rows: Vec<_> = records.iter().map(|record| row(record, now)).collect();
        context.print(table::render(&context.terminal, HEAD, &rows))?;
    }
    Ok(Exit::OK)
}

const HEAD: &[(&str, Align)] = &[
    ("id", Align::Left),
    ("created", Align::Left),
    ("files", Align::Right),
    ("size", Align::Right),
    ("kept", Align::Left),
];

fn row(record: &SnapshotRecord, now: Option<Timestamp>) -> Vec<String> {
    let created = record.created_time_utc;
    let (id, created, size) = match now {
        Some(now) => {
            let size = measure::size(record.total_bytes);
            (record.id.short(16), measure::ago(created, now), size)
        }
        None => (record.id.to_string(), measure::rfc3339(created), record.total_bytes.to_string()),
    };
    let kept = if record.kept { "kept" } else { "" };
    vec![id, created, record.file_count.to_string(), size, kept.to_owned()]
}

fn document(record: &SnapshotRecord) -> serde_json::Value {
    serde_json::json!({
        "schemaVersion": SCHEMA_VERSION,
        "snapshotId": record.id,
        "createdTimeUtc": record.created_time_utc,
        "fileCount": record.file_count,
        "totalBytes": record.total_bytes,
        "kept": record.kept,
    })
}
