//! Who supervises a run: `supervisor.json`, made once, so that a run starts once.

use serde::{Deserialize, Serialize};
use snapshots::path_error::PathError;

use crate::durable_file;
use crate::process_identity::ProcessIdentity;
use crate::run_directory::RunDirectory;

/// The two processes of a supervisor. Either alone still ends the run properly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SupervisorRecord {
    /// The version of this record: 1.
    pub version: u32,
    /// The outer process: it only watches the inner one, and is the last to leave.
    pub guard: ProcessIdentity,
    /// The inner process: it owns the script, its pipes and the log.
    pub supervisor: ProcessIdentity,
}

impl SupervisorRecord {
    /// Writes this record unless the run has one; says whether the run is now ours.
    pub(crate) fn claim(&self, run: &RunDirectory) -> Result<bool, PathError> {
        durable_file::create_new_json(&run.supervisor_json(), self)
    }

    /// Reads who supervises `run`; `None` when nobody has yet.
    ///
    /// # Errors
    ///
    /// When the record is there and cannot be read.
    pub fn read(run: &RunDirectory) -> Result<Option<Self>, PathError> {
        durable_file::read_json(&run.supervisor_json())
    }

    /// Returns a process of the supervisor that is alive: the one to wait for first.
    ///
    /// # Errors
    ///
    /// When `/proc` cannot be read.
    pub fn alive(&self) -> Result<Option<&ProcessIdentity>, PathError> {
        for process in [&self.guard, &self.supervisor] {
            if process.is_alive()? {
                return Ok(Some(process));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_claimed_once() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(directory.path());
        let me = ProcessIdentity::of_this_process().unwrap();
        let gone = ProcessIdentity { start_time: 0, ..me.clone() };
        let first = SupervisorRecord { version: 1, guard: gone.clone(), supervisor: me.clone() };
        let second = SupervisorRecord { version: 1, guard: gone.clone(), supervisor: gone };

        assert!(first.claim(&run).unwrap());
        assert!(!second.claim(&run).unwrap());

        assert_eq!(SupervisorRecord::read(&run).unwrap(), Some(first.clone()));
        assert_eq!(first.alive().unwrap(), Some(&me));
        assert_eq!(second.alive().unwrap(), None);
    }
}
