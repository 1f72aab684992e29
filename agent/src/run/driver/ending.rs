//! Ending: what the run left is collected, and how it ended is recorded.

use std::collections::HashMap;
use std::sync::Arc;

use runner::exit_record::{ExitReason, ExitRecord};
use runner::outputs::{self, OutputLimits, Outputs};
use runner::run_directory::RunDirectory;
use runner::supervisor::events;
use snapshots::digest::Digest;
use snapshots::store::local::LocalStore;
use snapshots::tree::{EntryKind, Tree};

use super::preparing::chain;
use super::{Context, NeverStarted};
use crate::metrics::Collector;
use crate::run::status::{Ending, RunEvent};
use crate::run::workplace;
use crate::store::{Change, Facts, StoreError};
use crate::task::{self, Task};

/// A run whose script is over.
pub(super) struct Over {
    context: Context,
    exit: ExitRecord,
    metrics: Collector,
    packages: Task<()>,
}

impl Over {
    pub(super) fn new(
        context: Context,
        exit: ExitRecord,
        metrics: Collector,
        packages: Task<()>,
    ) -> Self {
        Self { context, exit, metrics, packages }
    }

    /// Collects what is left to collect and records the end.
    pub(super) async fn finish(self) -> Result<(), StoreError> {
        let Self { context, exit, mut metrics, packages } = self;
        let agent = Arc::clone(&context.agent);
        let facts = Facts { started: exit.started_time_utc, ..Facts::default() };
        let change = Change::now(RunEvent::ScriptEnded).with(facts);
        match agent.record(&context.row.id, change).await {
            // Denied: an agent before this one got as far, and no farther.
            Ok(_) | Err(StoreError::Denied(_)) => {}
            Err(error) => return Err(error),
        }
        metrics.drain().await;
        let collected = collect(&context).await;
        let mut warnings = said(&context.directory);
        warnings.extend(collected.notes);
        warnings.extend(metrics.note());
        let facts = Facts {
            exit: Some(exit.clone()),
            outputs: collected.files,
            warnings,
            ..Facts::default()
        };
        let event = RunEvent::Collected(ending(exit.reason));
        let change = Change { event, at: exit.ended_time_utc, facts };
        agent.record(&context.row.id, change).await?;
        // Neither the run's end nor its place waits for the list; who asks for the run does.
        packages.detach();
        Ok(())
    }
}

impl NeverStarted {
    /// Records the end of a run that had no script.
    pub(super) async fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let Self { context, mut exit } = *self;
        let facts = |exit| Facts { exit: Some(exit), ..Facts::default() };
        let change = |exit| Change::now(RunEvent::NeverStarted).with(facts(exit));
        // A request to end that came while something failed wins, as the status shows.
        if context.is_cancelled() && exit.reason != ExitReason::Cancelled {
            exit.reason = ExitReason::Cancelled;
            exit.cancelled_by = context.cancelled_by();
        }
        workplace::forget_secrets(&context.directory);
        match context.agent.record(&context.row.id, change(exit)).await {
            Ok(_) => Ok(()),
            Err(StoreError::Denied(_)) => {
                // It was over before it came here: cancelled between its acceptance and its place
                // in the queue. Who watches it must hear so.
                let row = context.agent.store.row(&context.row.id).await?;
                context.agent.live.publish(&row.id, row.status);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

fn ending(reason: ExitReason) -> Ending {
    match reason {
        ExitReason::Completed => Ending::Well,
        ExitReason::Cancelled => Ending::Cancelled,
        _ => Ending::Badly,
    }
}

/// Returns what its supervisor has to say to people.
fn said(directory: &RunDirectory) -> Vec<String> {
    let events = events::read(directory).unwrap_or_default();
    let mut said: Vec<_> = events.iter().filter_map(|line| line.event.warning()).collect();
    // A container that was made twice was warned of twice.
    said.dedup();
    said
}

async fn collect(context: &Context) -> Outputs {
    let directory = context.directory.clone();
    let objects = context.agent.objects.clone();
    let root = context.row.request.snapshot_id;
    task::blocking(move || {
        let snapshot = SnapshotFiles::new(objects, root);
        let in_snapshot = |path: &[u8]| snapshot.digest(path);
        outputs::collect(&directory, &OutputLimits::default(), &in_snapshot).unwrap_or_else(
            |error| Outputs {
                files: Vec::new(),
                notes: vec![format!("what the run left could not be listed: {}", chain(&error))],
            },
        )
    })
    .await
}

/// Looks up files of a snapshot by path. Reads each directory once.
struct SnapshotFiles {
    objects: LocalStore,
    root: Digest,
    trees: std::cell::RefCell<HashMap<Digest, Option<Tree>>>,
}

impl SnapshotFiles {
    fn new(objects: LocalStore, root: Digest) -> Self {
        Self { objects, root, trees: std::cell::RefCell::default() }
    }

    fn digest(&self, path: &[u8]) -> Option<Digest> {
        let mut at = self.root;
        let mut names = path.split(|byte| *byte == b'/').peekable();
        while let Some(name) = names.next() {
            match (self.entry(&at, name)?, names.peek()) {
                (EntryKind::File { digest, .. }, None) => return Some(digest),
                (EntryKind::Directory { digest }, Some(_)) => at = digest,
                _ => return None,
            }
        }
        None
    }

    fn entry(&self, tree: &Digest, name: &[u8]) -> Option<EntryKind> {
        let mut trees = self.trees.borrow_mut();
        // A tree that cannot be read has no files: then all that the run left counts as its own.
        let tree = trees.entry(*tree).or_insert_with(|| self.objects.read_tree(tree).ok());
        tree.as_ref()?.get(name).map(|entry| entry.kind.clone())
    }
}
