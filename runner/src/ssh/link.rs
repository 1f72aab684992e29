//! A session of libssh2 on a socket, and all waiting that is done for it.
//!
//! libssh2 never blocks here: it tries, says in which direction it could not go on, and the socket
//! is polled for that with deadlines of our own.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};
use ssh2::{BlockDirections, ErrorCode, Session};

use super::{Patience, SshError};

/// libssh2's `LIBSSH2_ERROR_EAGAIN`: it would have had to wait.
const WOULD_BLOCK: ErrorCode = ErrorCode::Session(-37);

/// How often a silent server is asked whether it is still there, in fractions of
/// [`Patience::silence`].
const QUESTIONS: u32 = 3;

/// How long the first word of a command is awaited that was told nothing, at most: all that we start
/// greets at once, but for what the files that a login shell reads at its start wait for.
const FIRST_WORD: Duration = Duration::from_secs(60);

/// A session on a socket. Dropping it ends the connection at once.
pub(super) struct Link {
    session: Session,
    socket: Arc<OwnedFd>,
    host: String,
    patience: Patience,
}

impl Link {
    /// Makes a session that has not said anything yet.
    pub(super) fn new(host: &str, socket: OwnedFd, patience: Patience) -> Result<Self, SshError> {
        let socket = Arc::new(socket);
        let refused = |error: ssh2::Error| SshError::lost(host, &error);
        let mut session = Session::new().map_err(refused)?;
        session.set_tcp_stream(Arc::clone(&socket));
        session.set_blocking(false);
        // At most so often, whatever we ask for; the answers are what counts.
        session.set_keepalive(true, 1);
        Ok(Self { session, socket, host: host.to_owned(), patience })
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn socket(&self) -> &Arc<OwnedFd> {
        &self.socket
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Tries until it is done or `deadline` has come, which is `Ok(None)`.
    pub(super) fn try_until<T>(
        &self,
        deadline: Instant,
        mut attempt: impl FnMut(&Session) -> Result<T, ssh2::Error>,
    ) -> Result<Option<T>, ssh2::Error> {
        loop {
            match attempt(&self.session) {
                Err(error) if would_block(&error) => {}
                done => return done.map(Some),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.poll(left);
        }
    }

    /// Tries until it is done, as long as the server shows that it is there.
    pub(super) fn try_patiently<T>(
        &self,
        mut attempt: impl FnMut(&Session) -> Result<T, ssh2::Error>,
    ) -> Result<Result<T, ssh2::Error>, SshError> {
        let mut vigil = Vigil::new();
        loop {
            match attempt(&self.session) {
                Err(error) if would_block(&error) => self.wait(&mut vigil)?,
                done => return Ok(done),
            }
        }
    }

    /// Waits until libssh2 may be able to go on.
    ///
    /// # Errors
    ///
    /// [`SshError::Silent`]: the server has been silent for too long, or it answers to questions
    /// whether it is there but has not done for too long what is awaited. [`SshError::Stuck`]: the
    /// same of a command that has not begun to answer.
    pub(super) fn wait(&self, vigil: &mut Vigil) -> Result<(), SshError> {
        let Patience { silence, answer, .. } = self.patience;
        let answer = if vigil.is_first_word { answer.min(FIRST_WORD) } else { answer };
        let now = Instant::now();
        let ask_every = silence / QUESTIONS;
        if now >= vigil.heard.max(vigil.asked) + ask_every {
            vigil.asked = now;
            self.ask();
        }
        let mut next = vigil.heard.max(vigil.asked) + ask_every;
        for (since, after) in [(vigil.heard, silence), (vigil.begun, answer)] {
            if now >= since + after {
                let host = self.host.clone();
                return Err(match vigil.is_first_word && after == answer {
                    true => SshError::Stuck { host, after },
                    false => SshError::Silent { host, after },
                });
            }
            next = next.min(since + after);
        }
        if self.poll(next.saturating_duration_since(now)) {
            vigil.heard = Instant::now();
        }
        Ok(())
    }

    /// Says whether a packet of ours waits to go out whole. Only what began to send it can go on
    /// then, and libssh2 may read nothing until it has.
    pub(super) fn is_sending(&self) -> bool {
        matches!(self.session.block_directions(), BlockDirections::Outbound | BlockDirections::Both)
    }

    /// Polls for what libssh2 waits for; says whether the other side has sent or taken something.
    fn poll(&self, limit: Duration) -> bool {
        let sending = self.is_sending();
        // That there is room at once says nothing of the other side.
        if sending && self.is_ready(PollFlags::OUT, Duration::ZERO) {
            return false;
        }
        // Never a fraction of a millisecond: that would be no waiting at all.
        let limit = limit.max(Duration::from_millis(1));
        self.is_ready(if sending { PollFlags::OUT } else { PollFlags::IN }, limit)
    }

    fn is_ready(&self, flags: PollFlags, limit: Duration) -> bool {
        let limit = Timespec {
            tv_sec: limit.as_secs().cast_signed(),
            tv_nsec: limit.subsec_nanos().into(),
        };
        let mut fds = [PollFd::new(&self.socket, flags)];
        poll(&mut fds, Some(&limit)).is_ok_and(|ready| ready > 0)
    }

    /// Asks the server whether it is there. That this is said to have worked means nothing.
    fn ask(&self) {
        // libssh2 forgets a question that does not go out whole, and then all else is stuck: none
        // is asked while something waits to go out, or there is no room.
        if !self.is_sending() && self.is_ready(PollFlags::OUT, Duration::ZERO) {
            let _the_answer_counts = self.session.keepalive_send();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _gone_anyway = self.session.disconnect(None, "done", None);
        close(&self.socket);
    }
}

/// How long something has been awaited.
pub(super) struct Vigil {
    begun: Instant,
    heard: Instant,
    asked: Instant,
    is_first_word: bool,
}

impl Vigil {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { begun: now, heard: now, asked: now, is_first_word: false }
    }

    /// Awaits the first word of a command.
    pub(super) fn of_first_word() -> Self {
        Self { is_first_word: true, ..Self::new() }
    }
}

/// Ends both directions, so that nothing that libssh2 does afterwards can block.
pub(super) fn close(socket: &OwnedFd) {
    let _closed_already = shutdown(socket, Shutdown::Both);
}

pub(super) fn would_block(error: &ssh2::Error) -> bool {
    error.code() == WOULD_BLOCK
}

/// Returns the error of libssh2 behind one of its streams.
pub(super) fn cause(session: &Session, error: &io::Error) -> ssh2::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => ssh2::Error::new(WOULD_BLOCK, "would block"),
        _ => ssh2::Error::last_session_error(session).unwrap_or_else(ssh2::Error::unknown),
    }
}
