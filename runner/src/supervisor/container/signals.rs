//! Sends signals to a container, through restarts of its engine, in a thread of its own.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use images::engine::Engine;
use images::host::HostVariables;

use super::watch::{Nap, News};

/// After how long a container that does not end is killed once more.
const KILL_AGAIN: Duration = Duration::from_secs(10);

/// How often the prelude of a container that was asked to end looks whether it is over.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A signal that containers are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Term,
    Kill,
}

impl Signal {
    /// Returns what is sent for it. Also continues what is stopped, which could not answer.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Term => &["TERM", "CONT"],
            Self::Kill => &["KILL"],
        }
    }
}

/// A container as its signals see it. The thread starts with the first one.
#[derive(Debug)]
pub(super) struct Signals {
    id: String,
    variables: HostVariables,
    news: Arc<News>,
    look: Arc<OwnedFd>,
    sender: Option<mpsc::Sender<Signal>>,
}

impl Signals {
    /// `look` is the pipe whose lines have the prelude look whether it is over.
    pub(super) fn new(variables: HostVariables, news: Arc<News>, look: OwnedFd) -> Self {
        Self { id: String::new(), variables, news, look: Arc::new(look), sender: None }
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
            let (news, look) = (Arc::clone(&self.news), Arc::clone(&self.look));
            let thread = thread::Builder::new().name("signals".to_owned());
            if let Err(error) =
                thread.spawn(move || deliver(&id, &variables, (&news, &look), &wanted))
            {
                eprintln!("cannot start a thread that signals the container: {error}");
            }
            sender
        });
        // Without its thread the container is ended by the guard, after us.
        let _no_thread = sender.send(signal);
    }
}

fn deliver(
    id: &str,
    variables: &HostVariables,
    (news, look): (&News, &OwnedFd),
    wanted: &mpsc::Receiver<Signal>,
) {
    let mut engine: Option<Engine> = None;
    let Ok(mut signal) = wanted.recv() else { return };
    let mut nap = Nap::new();
    while news.over().is_none() {
        let sent = match engine.take().map_or_else(|| Engine::connect(variables), Ok) {
            Ok(connected) => {
                let mut names = signal.names().iter();
                let sent = names.try_for_each(|name| connected.signal_container(id, name));
                engine = sent.is_ok().then_some(connected);
                sent
            }
            Err(error) => Err(error),
        };
        let next = match (sent, signal) {
            (Err(_), _) => wanted.recv_timeout(nap.next()),
            (Ok(()), Signal::Kill) => wanted.recv_timeout(KILL_AGAIN),
            (Ok(()), Signal::Term) => next_while_it_ends(news, look, wanted),
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

/// Waits for the next signal, and has the prelude look meanwhile whether it is over.
fn next_while_it_ends(
    news: &News,
    look: &OwnedFd,
    wanted: &mpsc::Receiver<Signal>,
) -> Result<Signal, mpsc::RecvTimeoutError> {
    loop {
        let next = wanted.recv_timeout(LOOK_AGAIN);
        if next != Err(mpsc::RecvTimeoutError::Timeout) || news.over().is_some() {
            return next;
        }
        // A full pipe has enough lines for now; without a prelude nobody reads it.
        let _full = rustix::io::write(look.as_fd(), b"\n");
    }
}
