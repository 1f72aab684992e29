//! The environment key: the SHA-256 of what determines an environment.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use snapshots::digest::{Digest, Hasher, InvalidDigest};

use crate::definition::DefinitionError;
use crate::definition::requirements::{Requirements, canonical_lines};
use crate::environment::Environment;
use crate::host::HostVariables;
use crate::interpreter::InterpreterFacts;

/// Goes into every key. A new number makes every environment be built again: to be raised when the
/// same definition is built differently.
const VERSION: &str = "1";

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

/// Returns the key of `environment`; `None` for one that the user looks after.
///
/// `facts` are those of the interpreter it is based on, `index_settings` is the digest of what
/// decides where packages are found and which are chosen. Names of files, comments, order and time
/// do not count, nor does the tool that builds.
///
/// # Errors
///
/// The definition cannot be understood.
pub fn key(
    environment: &Environment,
    facts: &InterpreterFacts,
    index_settings: &Digest,
    variables: &HostVariables,
) -> Result<Option<EnvironmentKey>, DefinitionError> {
    match environment {
        Environment::UserManaged { .. } => Ok(None),
        Environment::Requirements { files, .. } => {
            let requirements = Requirements::check(files)?;
            let value = |name: &str| Some(variables.get(name)?.to_string_lossy().into_owned());
            let lines = canonical_lines(&requirements, &value);
            Ok(Some(digest("venv", facts, index_settings, &lines)))
        }
        Environment::UvProject { .. } | Environment::Conda { .. } | Environment::Docker { .. } => {
            todo!()
        }
    }
}

/// Hashes the parts, each with its name and both with their lengths, so that different parts never
/// give the same bytes.
fn digest(
    kind: &str,
    facts: &InterpreterFacts,
    index_settings: &Digest,
    lines: &[String],
) -> EnvironmentKey {
    let mut hasher = Hasher::new();
    let mut put = |name: &str, value: &str| {
        for text in [name, value] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
    };
    put("trainyard environment key", VERSION);
    put("kind", kind);
    put("python", &facts.version);
    put("implementation", &facts.implementation);
    put("platform", &facts.platform);
    put("abi", &facts.abi);
    put("libc", &facts.libc);
    // The environment links to it. UTF-8: it came as text.
    put("base", &facts.base_executable.to_string_lossy());
    put("index settings", &index_settings.to_string());
    for line in lines {
        put("line", line);
    }
    EnvironmentKey(hasher.finish())
}

#[cfg(test)]
mod tests;
