//! `trainyard snapshot remove`

use crate::cli::{Context, Exit, Failure, Outcome, reference, snapshotting};

/// Forgets snapshots; `trainyard gc` then frees what no run needs
#[derive(Debug, clap::Args)]
#[command(visible_alias = "rm", after_help = "Example:\n  trainyard snapshot remove 8f3a1c2")]
pub(in crate::cli) struct Args {
    /// Ids of snapshots or unique beginnings of them
    #[arg(required = true, value_name = "ID")]
    snapshots: Vec<String>,
}

/// Forgets snapshots.
pub(super) fn remove(args: &Args, context: &Context) -> Outcome {
    let store = snapshotting::store(&context.workspace()?)?;
    // All are looked up before the first one goes.
    let mut ids = Vec::new();
    for typed in &args.snapshots {
        let found = reference::snapshot_by_prefix(&store, typed)?;
        ids.push(found.ok_or_else(|| {
            Failure::usage(format!("there is no snapshot {typed:?}"))
                .hint("`trainyard snapshot list` shows what there is")
        })?);
    }
    for id in ids {
        store.remove_record(&id)?;
        context.terminal.status("Removed", id.short(16));
    }
    Ok(Exit::OK)
}
