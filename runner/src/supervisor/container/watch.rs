//! Waits for the end of a container, through restarts of its engine, in a thread of its own.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use images::engine::{ContainerState, Engine, EngineError};
use images::host::HostVariables;
use jiff::Timestamp;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::end::Over;
use crate::supervisor::events::Event;

/// How long to wait before an engine that is away is asked again: first, and at most.
const FIRST_NAP: Duration = Duration::from_millis(50);
const LONGEST_NAP: Duration = Duration::from_secs(2);

/// What other threads have to tell the event loop.
#[derive(Debug)]
pub(super) struct News {
    wake: EventFd,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    events: Vec<Event>,
    over: Option<Over>,
    output_is_over: bool,
}

impl News {
    pub(super) fn new() -> nix::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_value_and_flags(0, flags)?;
        Ok(Self { wake, told: Mutex::default() })
    }

    /// Becomes readable when there is news.
    pub(super) fn wakes(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Takes the events told since the last time.
    pub(super) fn events(&self) -> Vec<Event> {
        let _nothing_new = self.wake.read();
        std::mem::take(&mut self.told().events)
    }

    /// Returns the end, once there is one.
    pub(super) fn over(&self) -> Option<Over> {
        self.told().over.clone()
    }

    pub(super) fn tell(&self, event: Event) {
        self.told().events.push(event);
        let _already_awake = self.wake.write(1);
    }

    /// Says whether whoever passes output on has passed all of it on.
    pub(super) fn output_is_over(&self) -> bool {
        self.told().output_is_over
    }

    pub(super) fn end_output(&self) {
        self.told().output_is_over = true;
        let _already_awake = self.wake.write(1);
    }

    /// Forgets the end, before the script is started in another container.
    pub(super) fn begin_again(&self) {
        self.told().over = None;
    }

    fn end(&self, over: Over) {
        self.told().over = Some(over);
        let _already_awake = self.wake.write(1);
    }

    /// A thread that panicked has told all it could.
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits longer each time something fails.
#[derive(Debug)]
pub(super) struct Nap(Duration);

impl Nap {
    pub(super) fn new() -> Self {
        Self(FIRST_NAP)
    }

    /// Returns how long to wait now.
    pub(super) fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(LONGEST_NAP);
        now
    }
}

/// Starts a thread that connects at once, and tells of the end of the containers whose ids it is
/// sent, one after the other.
pub(super) fn spawn(
    news: Arc<News>,
    variables: HostVariables,
    live_restore: bool,
) -> std::io::Result<mpsc::Sender<String>> {
    let (sender, ids) = mpsc::channel();
    thread::Builder::new().name("container".to_owned()).spawn(move || {
        let engine = Engine::connect(&variables).ok();
        let id = String::new();
        let mut watch = Watch { news, variables, id, engine, gone_since: None, live_restore };
        while let Ok(id) = ids.recv() {
            watch.id = id;
            watch.gone_since = None;
            watch.run();
        }
    })?;
    Ok(sender)
}

struct Watch {
    news: Arc<News>,
    variables: HostVariables,
    id: String,
    engine: Option<Engine>,
    /// Since when the engine is away; forgotten when the container is seen on.
    gone_since: Option<Timestamp>,
    live_restore: bool,
}

impl Watch {
    /// Tells of the end, for as long as it takes.
    fn run(&mut self) {
        let mut nap = Nap::new();
        loop {
            match self.until_over() {
                Ok(state) => {
                    if self.gone_since.is_some() {
                        self.news.tell(Event::EngineBack { running: false });
                    }
                    self.look_whether_the_engine_stops();
                    let (gone_since, live_restore) = (self.gone_since, self.live_restore);
                    return self.news.end(Over { state, gone_since, live_restore });
                }
                Err(error) => {
                    self.engine = None;
                    if self.gone_since.is_none() {
                        nap = Nap::new();
                        self.gone_since = Some(Timestamp::now());
                        self.news.tell(Event::EngineAway { error: error.to_string() });
                    }
                }
            }
            thread::sleep(nap.next());
        }
    }

    /// An engine that stops ends its containers after it has closed its door, and still answers
    /// those who are in.
    fn look_whether_the_engine_stops(&mut self) {
        if self.live_restore || self.gone_since.is_some() {
            return;
        }
        if let Err(error) = Engine::connect(&self.variables) {
            self.gone_since = Some(Timestamp::now());
            self.news.tell(Event::EngineAway { error: error.to_string() });
        }
    }

    /// Waits until the container is not on; says where it stands then.
    fn until_over(&mut self) -> Result<Option<ContainerState>, EngineError> {
        let engine = match self.engine.take() {
            Some(engine) => engine,
            None => Engine::connect(&self.variables)?,
        };
        let engine = self.engine.insert(engine);
        loop {
            let state = engine.container(&self.id)?;
            if !state.as_ref().is_some_and(|state| state.running) {
                return Ok(state);
            }
            if self.gone_since.take().is_some() {
                self.news.tell(Event::EngineBack { running: true });
            }
            engine.wait_container(&self.id)?;
        }
    }
}
