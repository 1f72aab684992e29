//! Host keys: how they are written, and which are accepted.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The public key of an SSH server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKey {
    /// As in `known_hosts`: `ssh-ed25519`.
    pub algorithm: String,
    /// Base64, as in `known_hosts`.
    pub key: String,
}

impl HostKey {
    /// Returns the fingerprint as `ssh-keygen -l` writes it: `SHA256:` and 43 characters.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        todo!()
    }
}

/// Which host key is accepted. Whatever it says is checked before anything of ours is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKeyPolicy {
    /// This one.
    Pinned(HostKey),
    /// The one that a `known_hosts` file has for the host; a host that it does not have is refused.
    Known(PathBuf),
    /// Any: for the first time only, to show and pin it.
    Any,
}
