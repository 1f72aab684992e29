//! Gives free places to queued runs.
//!
//! One task owns the queue and the drivers of the runs that are on. Everyone else sends it
//! commands and may look at the queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use runner::cancel_request::CancelRequest;
use runner::exit_record::{ExitReason, ExitRecord};
use runner::run_id::RunId;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{Instrument, error, info_span};

use crate::agent::Agent;
use crate::api::wire::agent::RunCounts;
use crate::queue::Queue;
use crate::run::driver::{self, Begin};
use crate::run::status::{RunEvent, RunStatus};
use crate::run::workplace;
use crate::store::{Change, Facts, StoreError};
use crate::task::{self, Task};

/// Everything that can be asked of the scheduler.
#[derive(Debug)]
enum Command {
    /// A run waits for a place on this target.
    Enqueue(RunId, String),
    /// A run was on when the agent came back, and has its place on this target already.
    Resume(RunId, String, Begin, Option<CancelRequest>),
    /// The driver of a run is done.
    Done(RunId),
    /// A run is to end. Answers with where it stands then.
    Cancel(RunId, CancelRequest, oneshot::Sender<Result<RunStatus, StoreError>>),
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
    queue: Queue<RunId>,
    /// How many have a place, by target.
    on: HashMap<String, usize>,
}

impl Scheduler {
    /// Makes the way to a scheduler that does not work yet.
    pub(crate) fn new() -> (Self, Inbox) {
        let (sender, commands) = mpsc::unbounded_channel();
        (Self { commands: sender, seen: Arc::default() }, Inbox { commands })
    }

    /// Adds an accepted run to the queue for `target`.
    pub(crate) fn enqueue(&self, run: RunId, target: String) {
        self.send(Command::Enqueue(run, target));
    }

    /// Goes on with a run that was on, on `target`, when the agent went away.
    pub(crate) fn resume(
        &self,
        run: RunId,
        target: String,
        begin: Begin,
        cancel: Option<CancelRequest>,
    ) {
        self.send(Command::Resume(run, target, begin, cancel));
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

    /// The place of `run` among those that wait for its target, from 1.
    pub(crate) fn position(&self, run: &RunId) -> Option<usize> {
        self.seen().queue.position(run)
    }

    /// The places of all runs in the queue.
    pub(crate) fn positions(&self) -> HashMap<String, usize> {
        self.seen().queue.positions().map(|(run, place)| (run.to_string(), place)).collect()
    }

    /// How many runs wait and how many are on.
    pub(crate) fn counts(&self) -> RunCounts {
        let seen = self.seen();
        RunCounts { queued: seen.queue.len(), running: seen.on.values().sum() }
    }

    /// How many runs wait for `target` and how many are on there.
    pub(crate) fn counts_of(&self, target: &str) -> RunCounts {
        let seen = self.seen();
        let running = seen.on.get(target).copied().unwrap_or_default();
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

/// A run that is on.
struct Active {
    target: String,
    cancel: watch::Sender<Option<CancelRequest>>,
    _driver: Task<()>,
}

/// Carries out commands until the agent stops. Dropping the future drops the drivers; the runs
/// themselves go on.
pub(crate) async fn work(agent: Arc<Agent>, mut inbox: Inbox) {
    let mut active = HashMap::new();
    while let Some(command) = inbox.commands.recv().await {
        match command {
            Command::Enqueue(run, target) => {
                agent.live.publish(&run, RunStatus::Queued);
                agent.scheduler.seen().queue.push(run, target);
            }
            Command::Resume(run, target, begin, asked) => {
                start(&agent, &mut active, (run, target), begin, asked);
            }
            Command::Done(run) => drop(active.remove(&run)),
            Command::Cancel(run, request, reply) => {
                let span = info_span!("run", %run);
                let answer = cancel(&agent, &active, &run, request).instrument(span).await;
                reply.send(answer).ok();
            }
        }
        admit(&agent, &mut active);
        agent.scheduler.seen().on = on(&active);
    }
}

fn admit(agent: &Arc<Agent>, active: &mut HashMap<RunId, Active>) {
    loop {
        let on = on(active);
        let has_place = |target: &str| {
            let places = agent.targets.places(target, agent.concurrency);
            on.get(target).copied().unwrap_or_default() < places
        };
        let next = agent.scheduler.seen().queue.pop(has_place);
        let Some(next) = next else { return };
        start(agent, active, next, Begin::FromTheStart, None);
    }
}

/// Counts the runs that have a place, by target.
fn on(active: &HashMap<RunId, Active>) -> HashMap<String, usize> {
    let mut on = HashMap::new();
    for active in active.values() {
        *on.entry(active.target.clone()).or_default() += 1;
    }
    on
}

fn start(
    agent: &Arc<Agent>,
    active: &mut HashMap<RunId, Active>,
    (run, target): (RunId, String),
    begin: Begin,
    asked: Option<CancelRequest>,
) {
    let (cancel, asked) = watch::channel(asked);
    let span = info_span!("run", %run);
    let done = Done { agent: Arc::clone(agent), run: run.clone() };
    let driving = driver::drive(Arc::clone(agent), run.clone(), begin, asked);
    let driver = task::spawn(span, async move {
        let _done = done;
        if let Err(error) = driving.await {
            let error = anyhow::Error::from(error);
            error!("Stopped driving the run; the next start takes it up: {error:#}");
        }
    });
    active.insert(run, Active { target, cancel, _driver: driver });
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

async fn cancel(
    agent: &Agent,
    active: &HashMap<RunId, Active>,
    run: &RunId,
    request: CancelRequest,
) -> Result<RunStatus, StoreError> {
    let now = Timestamp::now();
    let queued = !active.contains_key(run);
    let mut facts = Facts { cancel: Some(request.clone()), ..Facts::default() };
    if queued {
        let mut exit = ExitRecord::new(ExitReason::Cancelled, "cancelled while it was queued", now);
        exit.cancelled_by = Some(request.by.clone());
        facts.exit = Some(exit);
    }
    let change = Change { event: RunEvent::CancelAsked, at: now, facts };
    // Tried once: whoever asked hears that it did not work, and nobody else has to wait.
    let status = agent.record_once(run, change).await?;
    if let Some(active) = active.get(run) {
        active.cancel.send_replace(Some(request));
    } else {
        agent.scheduler.seen().queue.remove(run);
        workplace::forget_secrets(&agent.workspace.run_directory(run));
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runner::cancel_request::CancelledBy;

    use super::*;
    use crate::agent::Parts;
    use crate::store::tests::new_run;
    use crate::workspace::Workspace;

    #[tokio::test]
    async fn who_watches_a_run_cancelled_before_it_was_in_the_queue_hears_of_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(directory.path().join("home"));
        workspace.create().unwrap();
        let parts = Parts {
            workspace,
            program: "/bin/false".into(),
            concurrency: 1,
            policies: crate::agent::Policies::default(),
        };
        let (agent, inbox) = Agent::open(parts).unwrap();
        let _scheduling = task::spawn(info_span!("scheduler"), work(Arc::clone(&agent), inbox));
        let run = new_run("exp", 1);
        let id = run.id.clone();
        agent.store.submit(run).await.unwrap();
        let by = CancelledBy { uid: 0, user: None };
        let request = CancelRequest::new(by, Timestamp::now(), false);

        let status = agent.scheduler.cancel(id.clone(), request).await.unwrap();
        // What `submit` does when it is its turn again.
        agent.live.publish(&id, RunStatus::Queued);
        let mut watching = agent.live.watch(&id).unwrap();
        agent.scheduler.enqueue(id.clone(), "local".to_owned());

        assert_eq!(status, RunStatus::Canceled);
        let ended = watching.wait_for(|status| status.is_ended());
        tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap().unwrap();
        assert!(agent.live.watch(&id).is_none());
    }
}
