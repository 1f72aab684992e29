//! The scheduler at work: commands carried out one after the other, and what may start started.

mod after;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use images::environment::Environment;
use jiff::Timestamp;
use runner::cancel_request::CancelRequest;
use runner::durable_file;
use runner::exit_record::{ExitReason, ExitRecord};
use runner::launch::Launch;
use runner::run_id::RunId;
use tokio::sync::{oneshot, watch};
use tracing::{Instrument, error, info, info_span};

use super::{Command, Inbox, Seen};
use crate::agent::Agent;
use crate::api::wire::waiting::ChangeWaiting;
use crate::queue::{On, Waiting};
use crate::run::driver::{self, Begin};
use crate::run::launching;
use crate::run::retry::delay_before;
use crate::run::status::{RunEvent, RunStatus};
use crate::run::workplace;
use crate::store::{Change, Facts, RunRow, StoreError};
use crate::task::{self, Task};

/// How long the queue may be looked at with nothing asked: runs rise as they wait.
const LOOK: Duration = Duration::from_secs(60);

/// A run that is on.
struct Active {
    on: On,
    cancel: watch::Sender<Option<CancelRequest>>,
    _driver: Task<()>,
}

/// What the scheduler works with.
struct Work {
    agent: Arc<Agent>,
    active: HashMap<RunId, Active>,
    /// Who wants to know when the queue was looked at.
    looking: Vec<oneshot::Sender<()>>,
}

/// Carries out commands until the agent stops. Dropping the future drops the drivers; the runs
/// themselves go on.
pub(crate) async fn work(agent: Arc<Agent>, mut inbox: Inbox) {
    let mut work = Work { agent, active: HashMap::new(), looking: Vec::new() };
    loop {
        let pause = work.pause();
        match tokio::time::timeout(pause, inbox.commands.recv()).await {
            Ok(None) => return,
            Ok(Some(command)) => work.carry_out(command).await,
            Err(_) => {}
        }
        // Whoever hands in a thousand runs does not have all of them looked at for each.
        while let Ok(command) = inbox.commands.try_recv() {
            work.carry_out(command).await;
        }
        work.admit();
        for looked in work.looking.drain(..) {
            // Whoever asked may have gone.
            looked.send(()).ok();
        }
    }
}

impl Work {
    async fn carry_out(&mut self, command: Command) {
        match command {
            Command::Enqueue(row) => self.accept(&row).await,
            Command::Resume(row, begin) => {
                let (waiting, asked) = (self.waiting(&row), row.cancel.clone());
                self.keep_gpus(&row).await;
                self.start(&waiting, begin, asked);
            }
            Command::Done(run) => self.done(run).await,
            Command::Cancel(run, request, reply) => {
                let span = info_span!("run", %run);
                reply.send(self.cancel(&run, request).instrument(span).await).ok();
            }
            Command::Look(reply) => self.looking.push(reply),
            Command::Change(run, change, reply) => {
                reply.send(self.change(&run, change).await).ok();
            }
        }
    }

    /// Says how the run of `row` waits.
    fn waiting(&self, row: &RunRow) -> Waiting<RunId> {
        let mut asks = row.request.resources.clone();
        // Of a container, the arguments of its definition may ask for GPUs as well.
        let contained = matches!(row.request.environment, Environment::Docker { .. });
        if contained && let Ok(plan) = launching::plan(&row.request, &self.agent.container_policy) {
            asks.gpus = Some(plan.gpus);
        }
        let clock = &self.agent.scheduler.seen().clock;
        let delay = row.request.retry.as_ref().map(|policy| delay_before(policy, row.attempt));
        let comes = |time| clock.coming(time, delay.unwrap_or_default());
        Waiting {
            run: row.id.clone(),
            number: row.number,
            uid: row.uid,
            target: row.request.target.clone(),
            priority: row.priority,
            since: row.created.min(clock.now()),
            asks,
            held: row.held,
            not_before: row.not_before.map(comes),
            after: after::ids(row),
        }
    }

    /// Leaves a run that is on the GPUs that it has.
    async fn keep_gpus(&self, row: &RunRow) {
        let directory = self.agent.workspace.run_directory(&row.id);
        let launch = task::blocking(move || {
            durable_file::read_json::<Launch>(&directory.launch_json()).ok().flatten()
        });
        if let Some(launch) = launch.await {
            self.agent.gpus.keep(&row.request.target, &launch);
        }
    }

    /// Puts a run into the queue that was just accepted or found again, unless it was cancelled
    /// before its turn here: who watches it must hear so.
    async fn accept(&mut self, row: &RunRow) {
        match self.agent.store.status(&row.id).await {
            Ok(Some(status)) if status.is_ended() => {
                self.agent.live.publish(&row.id, status);
                self.leave(&row.id);
                self.is_over(row.id.clone(), status).await;
            }
            Ok(_) => self.enqueue(row).await,
            Err(error) => {
                // Its driver finds out.
                error!(%error, run = %row.id, "Could not look up a run that was handed in.");
                self.enqueue(row).await;
            }
        }
    }

    async fn enqueue(&mut self, row: &RunRow) {
        let waiting = self.waiting(row);
        let run = waiting.run.clone();
        self.agent.live.publish(&run, RunStatus::Queued);
        let waits_for_others = !waiting.after.is_empty();
        self.agent.scheduler.seen().queue.push(waiting);
        if waits_for_others {
            self.look_at_others(&run).await;
        }
    }

    /// A driver is done: its run is over, or waits for another attempt.
    async fn done(&mut self, run: RunId) {
        drop(self.active.remove(&run));
        self.agent.gpus.take_back(&run);
        self.publish_active();
        match self.agent.store.row(&run).await {
            Ok(row) if row.status.is_ended() => {
                if row.request.retry.is_some() {
                    // Cancelled after its attempt ended, before it was here.
                    self.leave(&run);
                }
                self.is_over(run, row.status).await;
            }
            Ok(row) if row.status == RunStatus::Queued => self.enqueue(&row).await,
            // Its driver could not go on, and has said so.
            Ok(_) => {}
            Err(error) => error!(%error, %run, "Could not look up a run whose driver is done."),
        }
    }

    async fn change(&mut self, run: &RunId, change: ChangeWaiting) -> Result<(), StoreError> {
        // What is on, or about to be, is not in the queue, whatever its row still says.
        if self.active.contains_key(run) {
            let status = self.agent.store.status(run).await?.unwrap_or(RunStatus::Preparing);
            return Err(StoreError::NotWaiting { run: run.to_string(), status });
        }
        let row = self.agent.store.change_waiting(run, change).await?;
        // Before the queue is taken hold of, which the clock is with.
        let changed = self.waiting(&row);
        if let Some(waiting) = self.agent.scheduler.seen().queue.get_mut(run) {
            // What it still waits for is known here only.
            let after = std::mem::take(&mut waiting.after);
            *waiting = Waiting { after, ..changed };
        }
        info!(%run, "Changed how a run waits.");
        Ok(())
    }

    /// Starts what may start.
    fn admit(&mut self) {
        if self.agent.drain.now().is_some() || self.agent.disk.holds_runs() {
            return;
        }
        let starting: Vec<Waiting<RunId>> = {
            let mut seen = self.agent.scheduler.seen();
            let capacity = |target: &str| self.agent.capacity(target);
            if !seen.has_room(&capacity) {
                return;
            }
            let plan = seen.queue.plan(&seen.on, capacity, seen.clock.now());
            let now = plan.into_iter().filter(|(_, obstacle)| obstacle.is_none());
            let starting: Vec<_> = now.map(|(waiting, _)| waiting.clone()).collect();
            starting.iter().for_each(|waiting| drop(seen.queue.remove(&waiting.run)));
            starting
        };
        for waiting in &starting {
            self.start(waiting, Begin::FromTheStart, None);
        }
    }

    fn start(&mut self, waiting: &Waiting<RunId>, begin: Begin, asked: Option<CancelRequest>) {
        let run = waiting.run.clone();
        let (cancel, asked) = watch::channel(asked);
        let span = info_span!("run", %run);
        let done = Done { agent: Arc::clone(&self.agent), run: run.clone() };
        let driving = driver::drive(Arc::clone(&self.agent), run.clone(), begin, asked);
        let driver = task::spawn(span, async move {
            let _done = done;
            if let Err(error) = driving.await {
                let error = anyhow::Error::from(error);
                error!("Stopped driving the run; the next start takes it up: {error:#}");
            }
        });
        let share = self.agent.capacity(&waiting.target).share(&waiting.asks);
        let on = On { uid: waiting.uid, target: waiting.target.clone(), share };
        self.active.insert(run, Active { on, cancel, _driver: driver });
        self.publish_active();
    }

    fn publish_active(&self) {
        self.agent.scheduler.seen().on =
            self.active.values().map(|active| active.on.clone()).collect();
    }

    async fn cancel(
        &mut self,
        run: &RunId,
        request: CancelRequest,
    ) -> Result<RunStatus, StoreError> {
        // How it ended, if it waits: also when its driver has just put it back into the queue.
        let message = "cancelled while it was queued";
        let mut exit = ExitRecord::new(ExitReason::Cancelled, message, Timestamp::now());
        exit.cancelled_by = Some(request.by.clone());
        let facts = Facts { cancel: Some(request.clone()), exit: Some(exit), ..Facts::default() };
        let change = Change::now(RunEvent::CancelAsked).with(facts);
        // Tried once: whoever asked hears that it did not work, and nobody else has to wait.
        let status = self.agent.record_once(run, change).await?;
        if let Some(active) = self.active.get(run) {
            active.cancel.send_replace(Some(request));
        } else {
            self.leave(run);
            self.is_over(run.clone(), status).await;
        }
        Ok(status)
    }

    /// Takes a run that ended while it waited out of the queue.
    fn leave(&self, run: &RunId) {
        self.agent.scheduler.seen().queue.remove(run);
        workplace::forget_secrets(&self.agent.workspace.run_directory(run));
    }

    /// Returns how long nothing can change by itself.
    fn pause(&self) -> Duration {
        let seen = self.agent.scheduler.seen();
        let now = seen.clock.now();
        let next = seen.queue.next_time(now);
        let until = next.and_then(|time| Duration::try_from(time.duration_since(now)).ok());
        until.unwrap_or(LOOK).min(LOOK)
    }
}

/// Tells the scheduler that a driver is done, even when it panicked.
struct Done {
    agent: Arc<Agent>,
    run: RunId,
}

impl Drop for Done {
    fn drop(&mut self) {
        self.agent.scheduler.send(Command::Done(self.run.clone()));
    }
}
