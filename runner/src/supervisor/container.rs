//! A script in a container: made, started, followed and removed.
//!
//! Its output does not go through the engine: a [prelude] in front of the program sends it into
//! named [pipes] of the run directory, so that the same bytes reach the log in the same way as
//! those of a local process, whatever becomes of the engine meanwhile. The end is told by a thread
//! that [watches](watch) the container; it is over when the engine says that it is not on.
//!
//! ```text
//! connect ─▶ create ─▶ start ─▶ follow ─▶ not on any more ─▶ read the rest ─▶ remove
//!                            └─ the image has no shell: create again, attach, start
//! ```

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use images::engine::{ContainerSpec, Engine};
use images::host::HostVariables;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::end::Over;
pub(crate) use self::error::ContainerError;
pub(crate) use self::lost::{LostError, end_container};
use self::pipes::Pipes;
use self::prelude::Word;
use self::secret_files::SecretFiles;
use self::signals::{Signal, Signals};
pub(crate) use self::start::ContainerStart;
use self::watch::{Nap, News};
use crate::sandbox::cgroup::Confinement;
use crate::supervisor::events::{Event, EventLog};
use crate::supervisor::verdict::{Findings, ScriptStatus};
use crate::supervisor::workload::{Leftovers, Workload};

mod attached;
mod end;
mod engine_bounds;
mod error;
mod lost;
mod metadata;
mod owner;
mod pipes;
mod prelude;
mod secret_files;
mod signals;
mod specification;
mod start;
mod watch;
mod without_engine;

/// How long an engine may take to end a container that is to end at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to look whether it is to.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How long an engine may be away before what is left is somebody else's to remove.
const REMOVAL: Duration = Duration::from_secs(30);

/// A container that was started.
#[derive(Debug)]
pub(crate) struct RunningContainer {
    id: String,
    name: String,
    /// For messages: what was started, of which image.
    program: String,
    image: String,
    /// What to start where the image has no shell.
    without_shell: ContainerSpec,
    /// Whether the prelude is in front of the program.
    shell: bool,
    variables: HostVariables,
    engine: Engine,
    news: Arc<News>,
    watch: mpsc::Sender<String>,
    signals: Signals,
    /// Whether its output is passed on by the engine.
    attached: bool,
    pipes: Pipes,
    /// Removed with this.
    _secrets: Option<SecretFiles>,
    /// Whether it was asked to end.
    asked: bool,
    over: Option<Over>,
    /// How far the prelude came, once it is over.
    word: Option<Word>,
    /// Why there is nothing to start in the image.
    never_ran: Option<String>,
    confinement: Confinement,
    /// What was done without the engine, when it did not answer.
    without_engine: Option<String>,
}

/// The reading ends of stdout and stderr.
type Output = [OwnedFd; 2];

impl RunningContainer {
    /// Takes note of the end, unless the image has no shell: then that was no end yet. An init
    /// process answers 127 for a shell that is not there.
    fn ended(&mut self, mut over: Over, events: &mut EventLog) {
        if self.shell {
            let word = prelude::read_word(&self.pipes.word);
            self.word = Some(word);
            end::fill_in(&mut over, word);
            let code = over.state.as_ref().map(|state| state.exit_code);
            if word == Word::None && code == Some(127) && !self.asked {
                let message = format!("{} is not there", prelude::SHELL);
                events.say(Event::NoShell { message });
                self.news.begin_again();
                remove(&self.id, None, &self.variables);
                match self.start_without_shell(events) {
                    Ok(()) => return,
                    Err(error) => self.never_ran = Some(error.to_string()),
                }
            }
        }
        self.over = Some(over);
    }

    /// Ends its processes, as far as that can be done here, and waits for the engine no longer.
    fn end_without_engine(&mut self) -> Leftovers {
        let end = without_engine::end_processes(&self.id);
        self.without_engine = Some(without_engine::note(&end, &self.name));
        let over = Over { state: None, gone_since: None, live_restore: false };
        self.over = Some(self.news.over().unwrap_or(over));
        Leftovers { killed: end.killed.saturating_sub(1), remaining: end.remaining }
    }
}

impl Workload for RunningContainer {
    fn wakes(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.news.wakes()]
    }

    fn look(&mut self, events: &mut EventLog) {
        for event in self.news.events() {
            events.say(event);
        }
        if self.over.is_none()
            && let Some(over) = self.news.over()
        {
            self.ended(over, events);
        }
    }

    fn status(&self) -> Option<ScriptStatus> {
        self.over.as_ref().map(end::status)
    }

    /// Its processes end with its first, which the prelude makes wait for the others.
    fn is_at_work(&self) -> bool {
        self.over.is_none()
    }

    fn ask_to_end(&mut self) {
        self.asked = true;
        self.pipes.say_asked();
        self.signals.send(Signal::Term);
    }

    fn end(&mut self, events: &mut EventLog, is_urgent: &dyn Fn() -> bool) -> Leftovers {
        let begun = Instant::now();
        if self.over.is_none() {
            self.asked = true;
            self.signals.send(Signal::Kill);
        }
        while self.over.is_none() {
            // An interruption is as good as news.
            let mut wakes = [PollFd::from_borrowed_fd(self.news.wakes(), PollFlags::IN)];
            let _interrupted = poll(&mut wakes, Some(&LOOK_AGAIN));
            self.look(events);
            if self.over.is_none() && begun.elapsed() >= PATIENCE && is_urgent() {
                return self.end_without_engine();
            }
        }
        Leftovers::default()
    }

    fn output_may_come(&self) -> bool {
        self.attached && !self.news.output_is_over()
    }

    fn findings(&self) -> Findings {
        let found = |over| end::findings(over, self.word, &self.program, &self.image);
        let found = self.over.as_ref().map(found).unwrap_or_default();
        let never_ran = self.never_ran.clone().or(found.never_ran);
        let note = self.without_engine.clone().or(found.note);
        Findings { never_ran, note, ..found }
    }

    fn confinement(&self) -> Confinement {
        self.confinement.clone()
    }

    fn close(self: Box<Self>) {
        let Self { id, engine, variables, without_engine, .. } = *self;
        if without_engine.is_some() {
            // The agent's clean-up removes it: nobody waits for an engine that does not answer.
            return;
        }
        remove(&id, Some(engine), &variables);
    }
}

/// Removes a container that is not on. One that stays is removed by the agent's clean-up.
fn remove(id: &str, engine: Option<Engine>, variables: &HostVariables) {
    let begun = Instant::now();
    let mut nap = Nap::new();
    let mut engine = engine.map_or_else(|| Engine::connect(variables), Ok);
    loop {
        match engine.and_then(|engine| engine.remove_container(id)) {
            Ok(()) => return,
            Err(error) if begun.elapsed() > REMOVAL => {
                eprintln!("cannot remove the container {id}: {error}");
                return;
            }
            Err(_) => thread::sleep(nap.next()),
        }
        engine = Engine::connect(variables);
    }
}
