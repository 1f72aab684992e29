//! What a file says that has no effect here.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Place;

/// A remark on a run configuration file: something in it has no effect here, or another effect
/// than its author may expect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// The key, with those above it: `docker.shmSize`.
    pub key: String,
    /// What is to be said of it, to follow the key in a sentence.
    pub text: String,
    /// Where the key is, if it is in a file at all.
    pub place: Option<Place>,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.text)?;
        match &self.place {
            Some(place) => write!(f, " ({place})"),
            None => Ok(()),
        }
    }
}
