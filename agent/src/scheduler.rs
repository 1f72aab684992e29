//! Gives free places to queued runs.
//!
//! One task owns the queue and the drivers of the runs that are on. Everyone else sends it
//! commands and may look at the queue. Which run starts is decided by [`crate::queue`].

mod steady_clock;
mod waits;
mod work;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runner::cancel_request::CancelRequest;
use runner::run_id::RunId;
use tokio::sync::{mpsc, oneshot};

pub(crate) use work::work;

use crate::agent::Agent;
use crate::api::wire::agent::RunCounts;
use crate::api::wire::waiting::{ChangeWaiting, GpuInUse, WaitsFor};
use crate::disk::shortage::Shortage;
use crate::queue::{Capacity, On, Queue};
use crate::run::driver::Begin;
use crate::run::status::RunStatus;
use crate::scheduler::steady_clock::SteadyClock;
use crate::store::{RunRow, StoreError};

/// Everything that can be asked of the scheduler.
#[derive(Debug)]
enum Command {
    /// A run waits for a place.
    Enqueue(Box<RunRow>),
    /// A run was on when the agent came back, and has its place already.
    Resume(Box<RunRow>, Begin),
    /// The driver of a run is done.
    Done(RunId),
    /// A run is to end. Answers with where it stands then.
    Cancel(RunId, CancelRequest, oneshot::Sender<Result<RunStatus, StoreError>>),
    /// A run is to wait in another way.
    Change(RunId, ChangeWaiting, oneshot::Sender<Result<(), StoreError>>),
    /// Whether runs are admitted may have changed. Answers when that was acted upon.
    Look(oneshot::Sender<()>),
}

/// The way to the scheduler.
#[derive(Debug)]
pub(crate) struct Scheduler {
    commands: mpsc::UnboundedSender<Command>,
    seen: Arc<Mutex<Seen>>,
}

/// The scheduler's end of that way.
#[derive(Debug)]
pub(crate) struct Inbox {
    commands: mpsc::UnboundedReceiver<Command>,
}

/// What others may look at.
#[derive(Debug, Default)]
struct Seen {
    /// By which it is decided what may start.
    clock: SteadyClock,
    queue: Queue<RunId>,
    on: Vec<On>,
}

/// How a run waits, for people.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Waits {
    /// Its place among those for the same target that could start, from 1.
    pub(crate) position: Option<usize>,
    /// What it waits for.
    pub(crate) waits_for: Option<WaitsFor>,
}

impl Scheduler {
    /// Makes the way to a scheduler that does not work yet.
    pub(crate) fn new() -> (Self, Inbox) {
        let (sender, commands) = mpsc::unbounded_channel();
        (Self { commands: sender, seen: Arc::default() }, Inbox { commands })
    }

    /// Adds an accepted run to the queue.
    pub(crate) fn enqueue(&self, row: &RunRow) {
        self.send(Command::Enqueue(Box::new(row.clone())));
    }

    /// Goes on with a run that was on when the agent went away.
    pub(crate) fn resume(&self, row: RunRow, begin: Begin) {
        self.send(Command::Resume(Box::new(row), begin));
    }

    /// Asks for the end of a run and returns where it stands then.
    ///
    /// # Errors
    ///
    /// It is over, or there is no such run.
    pub(crate) async fn cancel(
        &self,
        run: RunId,
        request: CancelRequest,
    ) -> Result<RunStatus, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Cancel(run, request, reply));
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Changes how a run waits.
    ///
    /// # Errors
    ///
    /// It does not wait any more.
    pub(crate) async fn change(&self, run: RunId, change: ChangeWaiting) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Change(run, change, reply));
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Looks at the queue again, and returns when what may start was started and no more will be
    /// that may not. Says whether there is still a scheduler.
    pub(crate) async fn look(&self) -> bool {
        let (reply, looked) = oneshot::channel();
        self.send(Command::Look(reply));
        looked.await.is_ok()
    }

    /// Says of all runs in the queue how they wait, where `capacity` is what targets have, `in_use`
    /// which of their GPUs others use, and `shortage` why none starts at all.
    fn waits(
        &self,
        capacity: impl Fn(&str) -> Capacity,
        in_use: impl Fn(&str) -> Vec<GpuInUse>,
        shortage: Option<Shortage>,
    ) -> HashMap<String, Waits> {
        let seen = self.seen();
        let mut places: HashMap<&str, usize> = HashMap::new();
        let owner = |run: &str| {
            seen.queue.iter().find(|it| it.run.as_str() == run).map(|waiting| waiting.uid)
        };
        let plan = seen.queue.plan(&seen.on, capacity, seen.clock.now());
        let waits = plan.into_iter().map(|(waiting, obstacle)| {
            let can_start = obstacle.as_ref().is_none_or(|it| it.is_of_room());
            let position = can_start.then(|| {
                let place = places.entry(waiting.target.as_str()).or_default();
                *place += 1;
                *place
            });
            let short = shortage.filter(|_| can_start).map(|shortage| WaitsFor::Disk { shortage });
            let mut waits_for = short.or_else(|| obstacle.map(WaitsFor::from));
            if let Some(WaitsFor::Time { time_utc }) = &mut waits_for {
                *time_utc = seen.clock.told(*time_utc);
            }
            if let Some(WaitsFor::Gpus { in_use: gpus, .. }) = &mut waits_for {
                *gpus = in_use(&waiting.target);
            }
            if let Some(WaitsFor::Turn { run_id }) = &mut waits_for {
                // Nobody learns of others' runs more than that there are some.
                run_id.take_if(|kept_for| owner(kept_for) != Some(waiting.uid));
            }
            (waiting.run.to_string(), Waits { position, waits_for })
        });
        waits.collect()
    }

    /// How many runs wait and how many are on.
    pub(crate) fn counts(&self) -> RunCounts {
        let seen = self.seen();
        RunCounts { queued: seen.queue.len(), running: seen.on.len() }
    }

    /// How many runs wait for `target` and how many are on there.
    pub(crate) fn counts_of(&self, target: &str) -> RunCounts {
        let seen = self.seen();
        let running = seen.on.iter().filter(|on| on.target == target).count();
        RunCounts { queued: seen.queue.waiting_for(target), running }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, command: Command) {
        // The scheduler goes only when the agent does; then nobody waits for what it would do.
        self.commands.send(command).ok();
    }
}

impl Agent {
    /// Says of all runs in the queue how they wait.
    pub(crate) fn waits(&self) -> HashMap<String, Waits> {
        let in_use = |target: &str| self.gpus.of_others(target);
        self.scheduler.waits(|target| self.capacity(target), in_use, self.disk.shortage())
    }
}

impl Seen {
    /// Says whether any target that is waited for has a place. With all taken, as in a long queue
    /// most of the time, there is nothing to decide.
    fn has_room(&self, capacity: &impl Fn(&str) -> Capacity) -> bool {
        let mut targets: HashMap<&str, bool> = HashMap::new();
        self.queue.iter().any(|waiting| {
            *targets.entry(&waiting.target).or_insert_with_key(|target| {
                let on = self.on.iter().filter(|on| on.target == *target).count();
                on < capacity(target).places
            })
        })
    }
}

#[cfg(test)]
mod tests;
