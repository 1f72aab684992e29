//! The stdin and stdout of a command on the other side.

use std::io::{self, Read, Write};

/// The stdin and stdout of a command on the other side. Reading and writing give up after
/// [`Patience::silence`](super::Patience::silence) with an error of kind `TimedOut`; one of kind
/// `ConnectionReset` says that the connection is gone. Dropping it never blocks for long.
pub struct Wire {
    _todo: (),
}

impl Wire {
    /// Returns the last 4 KiB of what the command wrote to stderr: why it ended, as a rule.
    #[must_use]
    pub fn stderr_tail(&self) -> String {
        todo!()
    }

    /// Says whether something can be read without waiting.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    pub fn has_input(&mut self) -> io::Result<bool> {
        todo!()
    }
}

impl Read for Wire {
    fn read(&mut self, _bytes: &mut [u8]) -> io::Result<usize> {
        todo!()
    }
}

impl Write for Wire {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        todo!()
    }

    fn flush(&mut self) -> io::Result<()> {
        todo!()
    }
}
