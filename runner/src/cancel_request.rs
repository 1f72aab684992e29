//! The request that a run end: `cancel.json`, written atomically, seen by the supervisor.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use snapshots::path_error::PathError;

use crate::durable_file;
use crate::run_directory::RunDirectory;

/// Who wants a run to end, and how soon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CancelRequest {
    /// The version of this record: 1.
    pub version: u32,
    /// Who asked.
    pub by: CancelledBy,
    /// When.
    pub time_utc: Timestamp,
    /// Whether the run is to be killed without TERM and grace.
    #[serde(default)]
    pub now: bool,
}

/// The user who cancelled a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CancelledBy {
    /// The user's number on the machine that asked.
    pub uid: u32,
    /// The user's name there, when it is known.
    pub user: Option<String>,
}

impl CancelRequest {
    /// Asks in the name of `by`, at `time_utc`.
    #[must_use]
    pub fn new(by: CancelledBy, time_utc: Timestamp, now: bool) -> Self {
        Self { version: 1, by, time_utc, now }
    }

    /// Puts the request where the supervisor of `run` sees it. Durable: it also counts for a
    /// supervisor that starts later. A second request replaces the first, so that one with
    /// `now` can follow one without.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, run: &RunDirectory) -> Result<(), PathError> {
        durable_file::write_json(&run.cancel_json(), self)
    }

    /// Reads the request in `run`, if there is one.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read.
    pub fn read(run: &RunDirectory) -> Result<Option<Self>, PathError> {
        durable_file::read_json(&run.cancel_json())
    }
}

impl std::fmt::Display for CancelledBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.user {
            Some(user) => f.write_str(user),
            None => write!(f, "uid {}", self.uid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_back_and_a_later_one_replaces_it() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(directory.path());
        let by = CancelledBy { uid: 1000, user: Some("ana".to_owned()) };
        let first = CancelRequest::new(by.clone(), Timestamp::UNIX_EPOCH, false);
        let second = CancelRequest::new(by, Timestamp::UNIX_EPOCH, true);

        assert_eq!(CancelRequest::read(&run).unwrap(), None);
        first.write(&run).unwrap();
        assert_eq!(CancelRequest::read(&run).unwrap(), Some(first));
        second.write(&run).unwrap();
        assert_eq!(CancelRequest::read(&run).unwrap(), Some(second));
    }

    #[test]
    fn a_user_without_a_name_is_shown_by_number() {
        assert_eq!(CancelledBy { uid: 7, user: None }.to_string(), "uid 7");
    }
}
