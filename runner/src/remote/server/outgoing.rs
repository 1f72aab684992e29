//! What a server says, and that it is still there.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::SendBytes;
use crate::remote::bytes::BytesWriter;
use crate::remote::frame::{self, ALIVE_EVERY, Kind};
use crate::remote::message::Refusal;

/// The stream to the asking side. Frames of several threads do not mix.
pub(super) struct Outgoing<'a> {
    state: Mutex<State<'a>>,
    changed: Condvar,
}

struct State<'a> {
    to: &'a mut (dyn Write + Send),
    working: bool,
    closed: bool,
    broken: bool,
    last: Instant,
}

impl<'a> Outgoing<'a> {
    pub(super) fn new(to: &'a mut (dyn Write + Send)) -> Self {
        let last = Instant::now();
        let state = State { to, working: false, closed: false, broken: false, last };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Says something that is no frame.
    pub(super) fn plain(&self, bytes: &[u8]) -> io::Result<()> {
        self.state().say(|to| to.write_all(bytes))
    }

    /// Answers with a message.
    pub(super) fn message(&self, json: &[u8]) -> io::Result<()> {
        self.state().say(|to| frame::write_message(to, Kind::Message, json))
    }

    /// Answers with a refusal.
    pub(super) fn refuse(&self, refusal: &Refusal) -> io::Result<()> {
        let json = serde_json::to_vec(refusal)?;
        self.state().say(|to| frame::write(to, Kind::Refusal, &json))
    }

    /// Sends what `send` hands out. `broken` is told when it was the stream that did not take it.
    pub(super) fn bytes(
        &self,
        send: Box<SendBytes<'_>>,
        broken: &mut Option<io::Error>,
    ) -> Result<(), Refusal> {
        let broke = std::cell::RefCell::new(None);
        let mut sink = |kind: Kind, payload: Vec<u8>| {
            self.state().say(|to| frame::write(to, kind, &payload)).inspect_err(|error| {
                *broke.borrow_mut() = Some(io::Error::from(error.kind()));
            })
        };
        let sent = || -> Result<(), Refusal> {
            let mut writer = BytesWriter::new(&mut sink)?;
            send(&mut |bytes| writer.write(bytes))?;
            Ok(writer.finish()?)
        };
        let sent = sent();
        *broken = broke.take();
        sent
    }

    /// From now on this side is at work, and says so when it has nothing else to say.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.working = true;
        state.last = Instant::now();
        self.changed.notify_all();
    }

    /// The work is done.
    pub(super) fn end(&self) {
        self.state().working = false;
    }

    /// Nothing more is said.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Says whether nobody listens any more, as far as that was noticed.
    pub(super) fn is_broken(&self) -> bool {
        self.state().broken
    }

    /// Says every now and then that this side is at work; returns when all is said.
    pub(super) fn say_alive(&self) {
        let mut state = self.state();
        while !state.closed {
            let left = ALIVE_EVERY.saturating_sub(state.last.elapsed());
            if !state.working || state.broken {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else if left.is_zero() {
                // Whoever works finds out by itself that nobody listens.
                let _broken = state.say(|to| frame::write(to, Kind::Alive, &[]));
            } else {
                let woken = self.changed.wait_timeout(state, left);
                state = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State<'_> {
    fn say(&mut self, what: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let said = what(self.to).and_then(|()| self.to.flush());
        self.last = Instant::now();
        self.broken |= said.is_err();
        said
    }
}
