//! Drives one run from its place in the queue to its end.
//!
//! The phases are types that consume one another, so that none can be left out or come twice:
//!
//! ```text
//! Admitted ── prepare ──▶ Prepared ── start ──▶ Started ── follow ──▶ Over ── finish
//!     ▲ │                     │ │
//!     │ └─────────────────────│─┴──▶ NeverStarted ── finish
//!     └─── what was prepared ─┘
//!          is gone
//! ```
//!
//! An end may be followed by another attempt ([`crate::run::retry`]): the run waits again, and
//! begins anew as one that was just admitted.
//!
//! Each step is written down before it is made, and every step can be made again: whatever
//! moment the agent ends at, [`crate::recovery`] finds the phase to go on from.

mod again;
mod ending;
mod fault;
mod following;
mod preparing;
mod starting;

use std::sync::Arc;

use jiff::Timestamp;
use runner::cancel_request::CancelRequest;
use runner::compute_target::ComputeTarget;
use runner::exit_record::{ExitReason, ExitRecord};
use runner::run_directory::RunDirectory;
use runner::run_id::RunId;
use snapshots::error_chain::chain;
use tokio::sync::watch;

use crate::agent::Agent;
use crate::disk;
use crate::run::status::RunEvent;
use crate::store::{Change, RunRow, StoreError};
use crate::task;

use ending::Over;
use following::Started;
use preparing::Admitted;
use starting::{Launched, Prepared};

/// Where to take a run up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// It was just given a place.
    FromTheStart,
    /// It is prepared, and its supervisor may or may not have been started.
    Launch,
    /// Its supervisor was started; whatever became of it since will show.
    Follow,
    /// It was asked to end before its supervisor was started.
    Cancelled,
}

/// What the phases of a run share.
#[derive(Clone)]
struct Context {
    agent: Arc<Agent>,
    row: RunRow,
    directory: RunDirectory,
    /// Where it is carried out.
    target: Arc<dyn ComputeTarget>,
    cancel: watch::Receiver<Option<CancelRequest>>,
}

/// A run that ends without a script.
struct NeverStarted {
    context: Context,
    exit: ExitRecord,
}

/// Drives `run` to its end. A panic on the way is its end too.
///
/// # Errors
///
/// The records cannot be read or the agent stops. The run is where it was.
pub(crate) async fn drive(
    agent: Arc<Agent>,
    run: RunId,
    begin: Begin,
    cancel: watch::Receiver<Option<CancelRequest>>,
) -> Result<(), StoreError> {
    let row = agent.store.row(&run).await?;
    let directory = agent.workspace.run_directory(&run);
    let target = agent.targets.of_run(&row.request.target);
    let context = Context { agent, row, directory, target, cancel };
    match task::caught(phases(context.clone(), begin)).await {
        Ok(done) => done,
        Err(words) => fault::end(context, &words).await,
    }
}

async fn phases(context: Context, begin: Begin) -> Result<(), StoreError> {
    let over = match begin {
        Begin::FromTheStart => from_the_start(context).await,
        Begin::Launch => launch(Prepared::again(context).await).await,
        Begin::Follow => Ok(Started::again(context).await?.follow().await?),
        Begin::Cancelled => Err(Stopped::cancelled(context)),
    };
    match over {
        Ok(over) => over.finish().await,
        Err(Stopped::Never(never)) => never.finish().await,
        Err(Stopped::Back(context)) => put_back(*context).await,
        Err(Stopped::Records(error)) => Err(error),
    }
}

/// Gives a run's place back: it waits again.
async fn put_back(context: Context) -> Result<(), StoreError> {
    let change = Change::now(RunEvent::PlaceTakenBack);
    match context.agent.record(&context.row.id, change).await {
        Ok(_) => Ok(()),
        // Somebody asked for its end meanwhile.
        Err(StoreError::Denied(_)) => Box::new(NeverStarted::cancelled(context)).finish().await,
        Err(error) => Err(error),
    }
}

/// Why a phase did not lead to the next.
enum Stopped {
    /// The run ends here.
    Never(Box<NeverStarted>),
    /// The run waits again: others have what it needs.
    Back(Box<Context>),
    /// The records cannot be changed.
    Records(StoreError),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Records(error)
    }
}

impl Stopped {
    /// Ends the run for `reason`, unless `error` came of a full disk: that is a reason of its own.
    fn never(
        context: Context,
        reason: ExitReason,
        error: &(dyn std::error::Error + 'static),
    ) -> Self {
        Self::advised(context, reason, error, None)
    }

    /// As [`never`](Self::never), with what to do next on a line of its own.
    fn advised(
        context: Context,
        reason: ExitReason,
        error: &(dyn std::error::Error + 'static),
        hint: Option<String>,
    ) -> Self {
        let reason = if disk::is_full(error) { ExitReason::DiskFull } else { reason };
        let mut message = chain(error);
        if let Some(hint) = hint {
            message += &format!("\nhelp: {hint}");
        }
        let exit = ExitRecord::new(reason, message, Timestamp::now());
        Self::Never(Box::new(NeverStarted { context, exit }))
    }

    fn cancelled(context: Context) -> Self {
        Self::Never(Box::new(NeverStarted::cancelled(context)))
    }
}

impl NeverStarted {
    fn cancelled(context: Context) -> Self {
        let message = "cancelled before the script started";
        let mut exit = ExitRecord::new(ExitReason::Cancelled, message, Timestamp::now());
        exit.cancelled_by = context.cancelled_by();
        Self { context, exit }
    }
}

impl Context {
    fn is_cancelled(&self) -> bool {
        self.cancel.borrow().is_some()
    }

    fn cancelled_by(&self) -> Option<runner::cancel_request::CancelledBy> {
        let asked = self.cancel.borrow();
        asked.as_ref().or(self.row.cancel.as_ref()).map(|request| request.by.clone())
    }
}

async fn from_the_start(context: Context) -> Result<Over, Stopped> {
    launch(Admitted::new(context).prepare().await).await
}

async fn launch(mut prepared: Result<Prepared, Stopped>) -> Result<Over, Stopped> {
    loop {
        match prepared?.start().await? {
            Launched::Started(started) => return Ok(started.follow().await?),
            Launched::NotPrepared(admitted) => prepared = admitted.prepare().await,
        }
    }
}

#[cfg(test)]
mod tests;
