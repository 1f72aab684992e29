//! Host keys: how they are written, and which are accepted.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

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
        let blob = STANDARD.decode(&self.key).unwrap_or_default();
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
    }

    /// Reads the form in which keys are sent, which begins with the algorithm (RFC 4253, 6.6).
    pub(super) fn of_blob(blob: &[u8]) -> Option<Self> {
        let (length, rest) = blob.split_first_chunk::<4>()?;
        let algorithm = rest.get(..u32::from_be_bytes(*length).try_into().ok()?)?;
        let algorithm = String::from_utf8(algorithm.to_vec()).ok()?;
        Some(Self { algorithm, key: STANDARD.encode(blob) })
    }
}

impl fmt::Display for HostKey {
    /// As in `known_hosts`: algorithm and base64.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, self.key)
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
