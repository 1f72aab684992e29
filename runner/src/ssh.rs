//! SSH: one connection, its host key checked before anything is sent, and commands over it.
//!
//! The only home of the crate `ssh2`. A connection belongs to one thread at a time. It never waits
//! without a deadline of its own: libssh2's time limits and keepalive are not trusted.

mod ciphers;
mod command;
pub mod config;
mod connection;
pub mod credential;
mod error;
mod handshake;
pub mod host_key;
mod jump;
mod known_hosts;
mod link;
mod login;
mod wire;

use std::time::Duration;

pub use connection::{CommandEnd, CommandOutput, SshConnection};
pub use credential::Credential;
pub use error::SshError;
pub use host_key::{HostKey, HostKeyPolicy};
pub use wire::Wire;

/// Where an SSH server is, and how to be let in.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// A name or an address.
    pub host: String,
    /// 22 as a rule.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// Which host key is accepted.
    pub host_key: HostKeyPolicy,
    /// What proves who logs in. The first that is accepted counts.
    pub credentials: Vec<Credential>,
    /// Machines to go through, the one nearest to here first.
    pub jumps: Vec<Endpoint>,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until the connection is there, host key and login included.
    pub connect: Duration,
    /// Without a byte from the other side while one is awaited, or without one taken while some
    /// are sent. A server that has nothing to say is asked whether it is there, and that answer
    /// counts.
    pub silence: Duration,
    /// Without what is awaited of a command, although the server is there: the command is stuck.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let [connect, silence, answer] = [20, 15, 600].map(Duration::from_secs);
        Self { connect, silence, answer }
    }
}
