//! The environment key: the SHA-256 of what determines an environment.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use snapshots::digest::{Digest, InvalidDigest};

/// Names an environment by what determines it. Text form: 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnvironmentKey(Digest);

impl EnvironmentKey {
    /// Returns the first eight hex digits, for people to read.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.short(8)
    }
}

impl fmt::Display for EnvironmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for EnvironmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnvironmentKey({})", self.0)
    }
}

impl FromStr for EnvironmentKey {
    type Err = InvalidDigest;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        given.parse().map(Self)
    }
}
