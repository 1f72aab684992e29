//! A command on the other side: its stdin, stdout and stderr, and its end.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ssh2::{Channel, ErrorCode, Session};

use super::link::{Link, Vigil, cause, close, would_block};
use super::{CommandEnd, SshError};

/// How much of stdout is taken in while stdin is written, so that the command, which may have to
/// write before it reads on, does not wait for us while we wait for it.
const AHEAD: usize = 64 << 20;

/// How much of stdout is read at a time.
const CHUNK: usize = 256 << 10;

/// libssh2's `LIBSSH2_ERROR_CHANNEL_CLOSED` and `LIBSSH2_ERROR_CHANNEL_EOF_SENT`: the command does
/// not read any more.
const CLOSED: [ErrorCode; 2] = [ErrorCode::Session(-26), ErrorCode::Session(-27)];

/// A command that was started. Every method takes the link that it was started over. Dropping it
/// before its end ends the connection.
pub(super) struct Command {
    channel: Channel,
    socket: Arc<OwnedFd>,
    /// What was taken in while writing: from `taken` on it is not read yet.
    ahead: Vec<u8>,
    taken: usize,
    stderr: Vec<u8>,
    stderr_limit: usize,
    /// How many bytes were read from libssh2.
    received: u64,
    /// Whether something was written to its stdin.
    is_told: bool,
    is_over: bool,
}

impl Command {
    /// Starts `command` by the user's login shell. At most the last `stderr_limit` bytes of its
    /// stderr are kept.
    pub(super) fn start(link: &Link, command: &str, stderr_limit: usize) -> Result<Self, SshError> {
        let lost = |error: ssh2::Error| SshError::lost(link.host(), &error);
        let channel = link.try_patiently(Session::channel_session)?.map_err(lost)?;
        let mut command_line = Self {
            channel,
            socket: Arc::clone(link.socket()),
            ahead: Vec::new(),
            taken: 0,
            stderr: Vec::new(),
            stderr_limit,
            received: 0,
            is_told: false,
            is_over: false,
        };
        link.try_patiently(|_| command_line.channel.exec(command))?.map_err(lost)?;
        Ok(command_line)
    }

    /// Reads of its stdout, at least a byte; 0 is its end.
    pub(super) fn read(&mut self, link: &Link, bytes: &mut [u8]) -> Result<usize, SshError> {
        let mut vigil = match self.received == 0 && !self.is_told {
            true => Vigil::of_first_word(),
            false => Vigil::new(),
        };
        loop {
            let read = self.read_ahead(bytes);
            if read > 0 {
                return Ok(read);
            }
            match self.try_read(link, bytes)? {
                Some(read) => return Ok(read),
                None => link.wait(&mut vigil)?,
            }
        }
    }

    /// Says whether [`read`](Self::read) would return at once.
    pub(super) fn has_output(&mut self, link: &Link) -> Result<bool, SshError> {
        Ok(self.taken < self.ahead.len() || self.take_in(link)? || self.channel.eof())
    }

    /// Writes some of `bytes` to its stdin and returns how many; `None` if it reads no more.
    pub(super) fn write(&mut self, link: &Link, bytes: &[u8]) -> Result<Option<usize>, SshError> {
        let mut vigil = Vigil::new();
        loop {
            match self.channel.write(bytes).map_err(|error| cause(link.session(), &error)) {
                Ok(written) if written > 0 || bytes.is_empty() => {
                    self.is_told |= written > 0;
                    return Ok(Some(written));
                }
                Err(error) if CLOSED.contains(&error.code()) => return Ok(None),
                Err(error) if !would_block(&error) => {
                    return Err(SshError::lost(link.host(), &error));
                }
                // Not a byte of it was taken. libssh2 has to be given the same bytes again.
                _ => {}
            }
            // Whatever reads takes in all that has come, also leave to write more, and nothing of
            // that is seen by waiting: after reading, it has to be tried again.
            let received = self.received;
            let has_room = self.ahead.len() - self.taken < AHEAD;
            if has_room && !link.is_sending() && self.has_arrived() {
                self.take_in(link)?;
            }
            if self.received > received {
                continue;
            }
            // The end of its stdout is not enough: it may have closed that and read on.
            if self.channel.eof() {
                if self.channel.wait_close().is_ok() {
                    return Ok(None);
                }
                if self.channel.write_window().remaining > 0 && !link.is_sending() {
                    continue;
                }
            }
            link.wait(&mut vigil)?;
        }
    }

    /// Says that nothing more is written.
    pub(super) fn end_input(&mut self, link: &Link) -> Result<(), SshError> {
        match link.try_patiently(|_| self.channel.send_eof())? {
            Err(error) if !CLOSED.contains(&error.code()) => {
                Err(SshError::lost(link.host(), &error))
            }
            _ => Ok(()),
        }
    }

    /// Waits until it is over, after the end of its stdout was read.
    pub(super) fn end(&mut self, link: &Link) -> Result<CommandEnd, SshError> {
        let lost = |error: ssh2::Error| SshError::lost(link.host(), &error);
        link.try_patiently(|_| self.channel.close())?.map_err(lost)?;
        link.try_patiently(|_| self.channel.wait_close())?.map_err(lost)?;
        self.is_over = true;
        // The code of a command that a signal ended reads as 0.
        match self.channel.exit_signal().map_err(lost)?.exit_signal {
            Some(signal) => Ok(CommandEnd::Signal(signal)),
            None => self.channel.exit_status().map(CommandEnd::Code).map_err(lost),
        }
    }

    /// Returns the last of what it wrote to stderr.
    pub(super) fn stderr(&self) -> &[u8] {
        &self.stderr[self.stderr.len().saturating_sub(self.stderr_limit)..]
    }

    fn read_ahead(&mut self, bytes: &mut [u8]) -> usize {
        let left = &self.ahead[self.taken..];
        let read = left.len().min(bytes.len());
        bytes[..read].copy_from_slice(&left[..read]);
        self.taken += read;
        if self.taken == self.ahead.len() {
            self.ahead.clear();
            self.taken = 0;
            self.ahead.shrink_to(CHUNK);
        }
        read
    }

    /// Reads what is there into `ahead`; says whether there was something.
    fn take_in(&mut self, link: &Link) -> Result<bool, SshError> {
        let mut chunk = vec![0; CHUNK];
        let read = self.try_read(link, &mut chunk)?.unwrap_or_default();
        self.ahead.extend_from_slice(&chunk[..read]);
        Ok(read > 0)
    }

    /// Reads what is there of stdout, and of stderr; `None` if there is nothing yet of stdout.
    fn try_read(&mut self, link: &Link, bytes: &mut [u8]) -> Result<Option<usize>, SshError> {
        loop {
            let received = self.received;
            let read = self.try_stream(link, 0, bytes)?;
            // What is not read of stderr takes room that stdout needs, until nothing comes any
            // more.
            let mut chunk = [0; 4096];
            while let Some(read @ 1..) = self.try_stream(link, 1, &mut chunk)? {
                self.stderr.extend_from_slice(&chunk[..read]);
                if self.stderr.len() > 2 * self.stderr_limit {
                    self.stderr.drain(..self.stderr.len() - self.stderr_limit);
                }
            }
            match read {
                Some(1..) => return Ok(read),
                _ if self.channel.eof() => return Ok(Some(0)),
                // Reading the one may have taken in some of the other, and no waiting would see it.
                _ if self.received > received => {}
                _ if self.has_arrived() && !link.is_sending() => {
                    return self.try_stream(link, 0, bytes).map(|read| read.filter(|&n| n > 0));
                }
                _ => return Ok(None),
            }
        }
    }

    /// Says whether libssh2 has something of stdout or stderr that was not read.
    fn has_arrived(&self) -> bool {
        self.channel.read_window().available > 0
    }

    fn try_stream(
        &mut self,
        link: &Link,
        stream: i32,
        bytes: &mut [u8],
    ) -> Result<Option<usize>, SshError> {
        match self.channel.stream(stream).read(bytes).map_err(|e| cause(link.session(), &e)) {
            Ok(read) => {
                self.received += read as u64;
                Ok(Some(read))
            }
            Err(error) if would_block(&error) => Ok(None),
            Err(error) => Err(SshError::lost(link.host(), &error)),
        }
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        if !self.is_over {
            close(&self.socket);
            // libssh2 notices, and does not try to take leave.
            let _gone = self.channel.wait_eof();
        }
    }
}
