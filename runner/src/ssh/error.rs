//! What can go wrong with SSH, in words that say what to do.

use std::io;
use std::time::Duration;

use super::HostKey;

/// Why a connection is not there, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// The name cannot be resolved, or nobody answers.
    #[error("cannot reach {host} port {port}")]
    Unreachable {
        /// The host.
        host: String,
        /// Its port.
        port: u16,
        /// What the system answered.
        source: io::Error,
    },
    /// What answers does not speak SSH, or nothing that both sides know.
    #[error("{host} port {port} and this program do not understand each other: {said}")]
    Handshake {
        /// The host.
        host: String,
        /// Its port.
        port: u16,
        /// What libssh2 said.
        said: String,
    },
    /// The host key is another one than the pinned one. Nothing was sent.
    #[error(
        "the host key of {host} has changed: it was {}, it is now {}",
        expected.fingerprint(),
        found.fingerprint()
    )]
    HostKeyChanged {
        /// The host.
        host: String,
        /// The key that was pinned or known.
        expected: Box<HostKey>,
        /// The key that was shown.
        found: Box<HostKey>,
    },
    /// `known_hosts` does not have the host. Nothing was sent.
    #[error("{host} is not in {known_hosts}; its host key is {}", found.fingerprint())]
    HostKeyUnknown {
        /// The host.
        host: String,
        /// The file.
        known_hosts: String,
        /// The key that was shown.
        found: Box<HostKey>,
    },
    /// The server accepts none of the credentials.
    #[error("{host} does not let {user} in: {said}")]
    Denied {
        /// The host.
        host: String,
        /// The user.
        user: String,
        /// What was tried, and what the server said.
        said: String,
    },
    /// A private key cannot be used: the wrong passphrase, or none, or not a key.
    #[error("cannot use the private key: {said}")]
    Key {
        /// In words.
        said: String,
    },
    /// The connection is gone, or nothing came for too long.
    #[error("lost the connection to {host}: {said}")]
    Lost {
        /// The host.
        host: String,
        /// What happened.
        said: String,
    },
    /// Nothing came for so long.
    #[error("{host} has been silent for {} s", after.as_secs())]
    Silent {
        /// The host.
        host: String,
        /// How long.
        after: Duration,
    },
    /// The configuration of SSH cannot be used.
    #[error("cannot use {file}: {said}")]
    Config {
        /// The file.
        file: String,
        /// Why.
        said: String,
    },
}

impl SshError {
    /// Returns one sentence on what to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        todo!()
    }

    /// Says whether the same may work later: the network, not the login or the key, is at fault.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Lost { .. } | Self::Silent { .. })
    }
}
