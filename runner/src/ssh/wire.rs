//! The stdin and stdout of a command on the other side.

use std::io::{self, Read, Write};

use super::command::Command;
use super::link::Link;
use super::{CommandEnd, SshError};

/// How much of stderr is kept.
const STDERR_TAIL: usize = 4096;

/// The stdin and stdout of a command on the other side.
///
/// Reading and writing give up after [`Patience`](super::Patience) with an error of kind
/// `TimedOut`; one of kind `ConnectionReset` says that the connection is gone, one of kind
/// `BrokenPipe` that the command reads no more. After one of the first two it is of no use: all
/// else fails at once. Behind those is an [`SshError`]. What was written is sent at once; what comes
/// meanwhile is kept, up to 64 MiB. Dropping it ends the connection and never blocks.
pub struct Wire {
    command: Command,
    link: Link,
    /// Its connection failed once.
    is_lost: bool,
}

impl Wire {
    pub(super) fn open(link: Link, command: &str) -> Result<Self, SshError> {
        let command = Command::start(&link, command, STDERR_TAIL)?;
        Ok(Self { command, link, is_lost: false })
    }

    /// Returns the last 4 KiB of what the command wrote to stderr: why it ended, as a rule. It is
    /// complete once the end of its stdout was read.
    #[must_use]
    pub fn stderr_tail(&self) -> String {
        String::from_utf8_lossy(self.command.stderr()).into_owned()
    }

    /// Says whether reading would return at once, be it with the end.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    pub fn has_input(&mut self) -> io::Result<bool> {
        self.attempt(Command::has_output)
    }

    /// Waits until the command is over, whose stdout was read to its end, and says how it ended.
    ///
    /// # Errors
    ///
    /// As reading.
    pub fn end(&mut self) -> io::Result<CommandEnd> {
        self.attempt(Command::end)
    }

    fn attempt<T>(
        &mut self,
        attempt: impl FnOnce(&mut Command, &Link) -> Result<T, SshError>,
    ) -> io::Result<T> {
        if self.is_lost {
            let (host, said) = (self.link.host().to_owned(), "it failed before".to_owned());
            return Err(SshError::Lost { host, said }.into());
        }
        let done = attempt(&mut self.command, &self.link);
        self.is_lost = done.is_err();
        done.map_err(io::Error::from)
    }
}

impl Read for Wire {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.attempt(|command, link| command.read(link, bytes))
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.attempt(|command, link| command.write(link, bytes))?;
        written.ok_or_else(|| {
            let said = format!("the command on {} has ended", self.link.host());
            io::Error::new(io::ErrorKind::BrokenPipe, said)
        })
    }

    /// Does nothing: all is sent.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
