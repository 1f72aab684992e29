//! A connection, from the host key to the commands.

use std::io::Read;

use super::{Endpoint, HostKey, Patience, SshError, Wire};

/// A connection to an SSH server that has let us in.
pub struct SshConnection {
    _todo: (),
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandEnd {
    /// With an exit code.
    Code(i32),
    /// By a signal, as `KILL`.
    Signal(String),
}

/// What a command said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOutput {
    /// How it ended.
    pub end: CommandEnd,
    /// At most 1 MiB of it.
    pub stdout: Vec<u8>,
    /// At most 64 KiB of it.
    pub stderr: Vec<u8>,
}

impl SshConnection {
    /// Connects, checks the host key, logs in.
    ///
    /// # Errors
    ///
    /// [`SshError`]. For one about the host key nothing was sent but the key exchange.
    pub fn connect(endpoint: &Endpoint, patience: Patience) -> Result<Self, SshError> {
        todo!("{endpoint:?} {patience:?}")
    }

    /// Asks a server for its host key, without logging in.
    ///
    /// # Errors
    ///
    /// [`SshError`].
    pub fn host_key_of(endpoint: &Endpoint, patience: Patience) -> Result<HostKey, SshError> {
        todo!("{endpoint:?} {patience:?}")
    }

    /// Returns the host key that was accepted.
    #[must_use]
    pub fn host_key(&self) -> &HostKey {
        todo!()
    }

    /// Carries out `command` by the user's login shell with `input` as its stdin, to its end.
    /// `command` is text of this program only, never of a user.
    ///
    /// # Errors
    ///
    /// [`SshError`]; an exit code is none.
    pub fn run(&mut self, command: &str, input: &mut dyn Read) -> Result<CommandOutput, SshError> {
        todo!("{command} {:?}", input.read(&mut []))
    }

    /// Starts `command` as [`run`](Self::run) does and becomes its stdin and stdout.
    ///
    /// # Errors
    ///
    /// [`SshError`].
    pub fn open(self, command: &str) -> Result<Wire, SshError> {
        todo!("{command}")
    }
}
