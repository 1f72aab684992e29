//! What can go wrong with SSH, in words that say what to do.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::{Endpoint, HostKey};

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
    /// `known_hosts` has other keys of the host. Nothing was sent.
    #[error(
        "{known_hosts} has another host key of {host}: {}, not {}",
        expected.fingerprint(),
        found.fingerprint()
    )]
    HostKeyOther {
        /// The host.
        host: String,
        /// The file.
        known_hosts: String,
        /// What the host is called there.
        known_as: String,
        /// The key that the file has.
        expected: Box<HostKey>,
        /// The key that was shown.
        found: Box<HostKey>,
    },
    /// `known_hosts` says that nobody is to have this host key any more. Nothing was sent.
    #[error("{known_hosts} revokes the host key of {host}, {}", found.fingerprint())]
    HostKeyRevoked {
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
    /// Nobody knows what the server would let the user in by.
    #[error("there is nothing to log in to {host} with as {user}")]
    NoCredential {
        /// The host.
        host: String,
        /// The user.
        user: String,
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
    /// A command was started and has said nothing for so long.
    #[error("{host} has not begun to carry out a command for {} s", after.as_secs())]
    Stuck {
        /// The host.
        host: String,
        /// How long.
        after: Duration,
    },
    /// What is to be sent cannot be read.
    #[error("cannot read what is to be sent")]
    Input(#[source] io::Error),
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
        Some(match self {
            Self::Unreachable { port, .. } => {
                format!("check that the machine is on, its address, and that port {port} is open")
            }
            Self::Handshake { .. } => {
                "check that an SSH server is there, OpenSSH 7.2 or later".into()
            }
            Self::HostKeyChanged { .. } => {
                "if the machine was set up anew, accept its new key; if not, somebody may be in \
                 between: ask who runs it"
                    .into()
            }
            Self::HostKeyUnknown { known_hosts, .. } => {
                format!("compare it with the machine's own, then add it to {known_hosts}")
            }
            Self::HostKeyOther { known_hosts, known_as, .. } => format!(
                "somebody may be in between: ask who runs the machine. If it was set up anew, \
                 `ssh-keygen -R '{known_as}' -f {known_hosts}` takes the old key out"
            ),
            Self::HostKeyRevoked { .. } => "ask who runs the machine for its new key".into(),
            Self::Denied { .. } => {
                "check the user name, and that this password or key is the user's there".into()
            }
            Self::NoCredential { .. } => {
                "attach it again; where systemd hands the agent its credential, see to \
                 LoadCredentialEncrypted= in the unit of the agent and start that again"
                    .into()
            }
            Self::Key { .. } => "give the right private key file, and its passphrase".into(),
            Self::Stuck { .. } => {
                "see what the files that the user's login shell reads at its start wait for".into()
            }
            Self::Silent { .. } => "check that the machine and the network are well".into(),
            Self::Lost { .. } | Self::Input(_) | Self::Config { .. } => return None,
        })
    }

    /// Says whether the same may work later: the network, not the login or the key, is at fault.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Lost { .. } | Self::Silent { .. } | Self::Stuck { .. }
        )
    }

    pub(super) fn unreachable(endpoint: &Endpoint, source: io::Error) -> Self {
        Self::Unreachable { host: endpoint.host.clone(), port: endpoint.port, source }
    }

    pub(super) fn lost(host: &str, error: &ssh2::Error) -> Self {
        Self::Lost { host: host.to_owned(), said: error.message().to_owned() }
    }

    pub(super) fn config(file: &Path, said: impl Display) -> Self {
        Self::Config { file: file.display().to_string(), said: said.to_string() }
    }
}

impl From<SshError> for io::Error {
    /// Of kind `TimedOut` for [`SshError::Silent`] and [`SshError::Stuck`], of `ConnectionReset` for [`SshError::Lost`].
    fn from(error: SshError) -> Self {
        let kind = match error {
            SshError::Silent { .. } | SshError::Stuck { .. } => io::ErrorKind::TimedOut,
            SshError::Lost { .. } => io::ErrorKind::ConnectionReset,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
