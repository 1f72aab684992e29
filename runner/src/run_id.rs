//! Run ids: `<experiment>_<unix seconds>_<8 hex>`, as Azure ML's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An id is a file name: 255 bytes at most, with room for the time and the random part.
const MAX_EXPERIMENT: usize = 200;
const MAX_ID: usize = 255;

/// Identifies one run for its whole life, across agent restarts and machines.
///
/// Text form is `<experiment>_<unix seconds>_<8 hex>`: safe as a directory name, a command-line
/// argument and a URL path segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// A text that is not a run id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "run id {given:?} must be 1 to {MAX_ID} characters of [A-Za-z0-9_-] and start with a letter \
     or digit"
)]
pub struct InvalidRunId {
    given: String,
}

impl RunId {
    /// Makes the id of a new run of `experiment`, which is sanitised first.
    ///
    /// Reads neither clock nor random source: both are the caller's.
    #[must_use]
    pub fn generate(experiment: &str, now_unix_seconds: u64, random: u32) -> Self {
        let experiment = sanitise_experiment(experiment);
        let experiment = &experiment[..experiment.len().min(MAX_EXPERIMENT)];
        Self(format!("{experiment}_{now_unix_seconds}_{random:08x}"))
    }

    /// Returns the text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Turns any name, such as a directory's, into an experiment name that Azure ML would take:
/// `^[a-zA-Z0-9][\w\-]{0,254}$`, of ASCII only.
///
/// Each character that is not allowed becomes `-`; a name that has nothing to keep is
/// `experiment`.
#[must_use]
pub fn sanitise_experiment(name: &str) -> String {
    let replaced = name.chars().map(|c| if is_plain(c) { c } else { '-' });
    let kept: String = replaced.skip_while(|c| !c.is_ascii_alphanumeric()).take(MAX_ID).collect();
    if kept.is_empty() { "experiment".to_owned() } else { kept }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

impl FromStr for RunId {
    type Err = InvalidRunId;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let first_fits = given.starts_with(|c: char| c.is_ascii_alphanumeric());
        if first_fits && given.len() <= MAX_ID && given.chars().all(is_plain) {
            Ok(Self(given.to_owned()))
        } else {
            Err(InvalidRunId { given: given.to_owned() })
        }
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidRunId;

    fn try_from(given: String) -> Result<Self, Self::Error> {
        given.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_reads_as_azure_writes_it() {
        let id = RunId::generate("diabetes", 1_700_000_000, 0xab);
        assert_eq!(id.to_string(), "diabetes_1700000000_000000ab");
    }

    #[test]
    fn experiments_are_made_to_fit() {
        for (given, expected) in [
            ("diabetes", "diabetes"),
            ("my project!", "my-project-"),
            ("_private", "private"),
            ("../../etc", "etc"),
            ("-rf", "rf"),
            ("été", "t-"),
            ("", "experiment"),
            ("...", "experiment"),
            ("a\nb\0c", "a-b-c"),
        ] {
            assert_eq!(sanitise_experiment(given), expected, "{given:?}");
        }
    }

    #[test]
    fn texts_that_are_no_file_name_are_refused() {
        let long = "a".repeat(256);
        for bad in ["", ".", "..", "-x", "_x", "a/b", "a b", "a\n", "é", &long] {
            let error = bad.parse::<RunId>().unwrap_err();
            assert!(error.to_string().starts_with("run id "), "{error}");
        }
        assert!(serde_json::from_str::<RunId>("\"../x\"").is_err());
    }

    proptest! {
        #[test]
        fn every_generated_id_is_a_valid_one(name in ".*", now: u64, random: u32) {
            let id = RunId::generate(&name, now, random);
            prop_assert_eq!(id.as_str().parse::<RunId>(), Ok(id.clone()));
        }
    }
}
