//! Bringing a snapshot to an agent that has a store of its own.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use snapshots::digest::Digest;
use snapshots::snapshot::SnapshotRecord;
use snapshots::store::local::LocalStore;
use snapshots::transfer::{self, Destination, Progress as TransferProgress, TransferError};
use tokio::runtime::Runtime;

use crate::api::wire::agent::AgentStatus;
use crate::cli::{Context, Failure};
use crate::client::{Client, ClientError};
use crate::terminal::{Progress, measure};

/// Sends what the agent's store lacks: nothing where that is the very store that we wrote.
///
/// # Errors
///
/// The agent cannot be reached or refuses. What arrived is kept, and the next time only the rest
/// travels.
pub(in crate::cli) fn to_agent(
    context: &Context,
    client: &Client,
    agent: &AgentStatus,
    store: &LocalStore,
    record: &SnapshotRecord,
) -> Result<(), Failure> {
    // The numbers of another machine's disks may be those of ours.
    let is_here = context.is_here()?;
    if is_here && store_id(store.directory()).is_some_and(|id| id == agent.store_id) {
        return Ok(());
    }
    let mut agent = AgentStore { client, runtime: context.runtime()? };
    let bar = Bar::new(context);
    let sent = transfer::send(store, record, &mut agent, &bar);
    drop(bar);
    let sent = sent.map_err(Failure::failed)?;
    if sent.objects > 0 {
        let objects = measure::count(sent.objects, "object");
        let line = format!("{objects}, {} to the agent", measure::size(sent.bytes));
        context.terminal.status("Sent", line);
    }
    Ok(())
}

fn store_id(directory: &Path) -> Option<String> {
    let found = directory.metadata().ok()?;
    Some(format!("{}:{}", found.dev(), found.ino()))
}

/// The agent's store, seen through its API.
struct AgentStore<'a> {
    client: &'a Client,
    runtime: &'a Runtime,
}

fn remote(error: ClientError) -> TransferError {
    TransferError::Remote { source: Box::new(error) }
}

impl Destination for AgentStore<'_> {
    fn missing(&mut self, digests: &[Digest]) -> Result<Vec<Digest>, TransferError> {
        self.runtime.block_on(self.client.missing(digests)).map_err(remote)
    }

    fn put_pack(&mut self, pack: &mut dyn Read) -> Result<(), TransferError> {
        self.client.send_pack(self.runtime, pack).map(drop).map_err(remote)
    }

    fn finish(&mut self, record: &SnapshotRecord) -> Result<(), TransferError> {
        self.runtime.block_on(self.client.finish(record)).map_err(|error| match error {
            // It says that something is missing, and not what: everything is asked about again.
            error if error.is_conflict() => TransferError::Incomplete { missing: vec![record.id] },
            error => remote(error),
        })
    }
}

/// The progress of a transfer as a line that moves.
struct Bar {
    planned: AtomicU64,
    sent: AtomicU64,
    progress: Progress,
}

impl Bar {
    fn new(context: &Context) -> Self {
        let progress = Progress::new(&context.terminal, "Sending");
        Self { planned: AtomicU64::new(0), sent: AtomicU64::new(0), progress }
    }
}

impl TransferProgress for Bar {
    fn planned(&self, _: u64, bytes: u64) {
        self.planned.fetch_add(bytes, Ordering::Relaxed);
    }

    fn sent(&self, bytes: u64) {
        let sent = self.sent.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let planned = self.planned.load(Ordering::Relaxed);
        self.progress.set(|| format!("{} of {}", measure::size(sent), measure::size(planned)));
    }
}
