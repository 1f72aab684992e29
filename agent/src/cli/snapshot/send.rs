//! `trainyard snapshot send`

use std::path::PathBuf;

use crate::api::wire::target::{SendReport, SendRequest};
use crate::cli::context::SCHEMA_VERSION;
use crate::cli::run::transfer;
use crate::cli::{Context, Exit, Outcome, reference, snapshotting};
use crate::client::Start;
use crate::terminal::measure;

/// Sends a source directory to an attached machine, so that runs there begin sooner
///
/// Only what the machine lacks travels. Runs do the same by themselves.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard snapshot send . --target gpu-vm")]
pub(in crate::cli) struct Args {
    /// The source directory
    #[arg(value_name = "DIR", default_value = ".", value_hint = clap::ValueHint::DirPath)]
    source: PathBuf,
    /// The machine
    #[arg(long, value_name = "NAME", add = reference::targets())]
    target: String,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Takes a snapshot and sends it.
pub(super) fn send(args: &Args, context: &Context) -> Outcome {
    let workspace = context.workspace()?;
    let (client, agent) = context.agent(Start::IfNone)?;
    let store = snapshotting::store(&workspace)?;
    let options = snapshotting::options(context, &workspace, &args.source, false);
    let lease = store.lease()?;
    let taken = snapshotting::take(context, &store, &args.source, &options)?;
    let _hold = store.hold(&taken.record.id)?;
    drop(lease);
    let warnings: Vec<_> = taken.warnings.iter().map(ToString::to_string).collect();
    snapshotting::warn(context, &warnings);
    transfer::to_agent(context, &client, &agent, &store, &taken.record)?;
    let request = SendRequest { snapshot_id: taken.record.id };
    let path = ["targets", &args.target, "snapshots"];
    let sent: SendReport =
        context.wait_for(async { Ok(client.post(&path, &request, "send the snapshot").await?) })?;
    if args.json {
        context.print_json(&serde_json::json!({
            "schemaVersion": SCHEMA_VERSION,
            "snapshotId": taken.record.id,
            "target": args.target,
            "objects": sent.objects,
            "bytes": sent.bytes,
            "roundTrips": sent.round_trips,
        }))?;
    } else {
        let objects = measure::count(sent.objects, "object");
        let line = format!("{objects}, {} to {}", measure::size(sent.bytes), args.target);
        context.terminal.status("Sent", line);
        context.print(format!("{}\n", taken.record.id))?;
    }
    Ok(Exit::OK)
}
