//! Sends signals to a container, through restarts of its engine, in a thread of its own.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use images::engine::Engine;
use images::host::HostVariables;

use super::watch::{Nap, News};

/// After how long a container that does not end is killed once more.
const KILL_AGAIN: Duration = Duration::from_secs(10);

/// A signal that containers are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Term,
    Kill,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Kill => "KILL",
        }
    }
}

/// A container as its signals see it. The thread starts with the first one.
#[derive(Debug)]
pub(super) struct Signals {
    id: String,
    variables: HostVariables,
    news: Arc<News>,
    sender: Option<mpsc::Sender<Signal>>,
}

impl Signals {
    pub(super) fn new(variables: HostVariables, news: Arc<News>) -> Self {
        Self { id: String::new(), variables, news, sender: None }
    }

    /// Sends them to the container `id` from here on.
    pub(super) fn follow(&mut self, id: String) {
        self.id = id;
        self.sender = None;
    }

    /// Sends `signal` as soon as the engine takes it; one that waits for that is replaced.
    pub(super) fn send(&mut self, signal: Signal) {
        let sender = self.sender.get_or_insert_with(|| {
            let (sender, wanted) = mpsc::channel();
            let (id, variables) = (self.id.clone(), self.variables.clone());
            let news = Arc::clone(&self.news);
            let thread = thread::Builder::new().name("signals".to_owned());
            if let Err(error) = thread.spawn(move || deliver(&id, &variables, &news, &wanted)) {
                eprintln!("cannot start a thread that signals the container: {error}");
            }
            sender
        });
        // Without its thread the container is ended by the guard, after us.
        let _no_thread = sender.send(signal);
    }
}

fn deliver(id: &str, variables: &HostVariables, news: &News, wanted: &mpsc::Receiver<Signal>) {
    let mut engine: Option<Engine> = None;
    let Ok(mut signal) = wanted.recv() else { return };
    let mut nap = Nap::new();
    while news.over().is_none() {
        let sent = match engine.take().map_or_else(|| Engine::connect(variables), Ok) {
            Ok(connected) => {
                let sent = connected.signal_container(id, signal.name());
                engine = sent.is_ok().then_some(connected);
                sent
            }
            Err(error) => Err(error),
        };
        let next = match (sent, signal) {
            (Err(_), _) => wanted.recv_timeout(nap.next()),
            (Ok(()), Signal::Kill) => wanted.recv_timeout(KILL_AGAIN),
            (Ok(()), Signal::Term) => {
                wanted.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected)
            }
        };
        match next {
            Ok(next) => {
                signal = next;
                nap = Nap::new();
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
    }
}
