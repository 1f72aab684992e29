//! Why a run ended, in machine-readable form.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use snapshots::path_error::PathError;

use crate::cancel_request::CancelledBy;
use crate::durable_file;
use crate::run_directory::RunDirectory;
use crate::sandbox::cgroup::Confinement;
use crate::sandbox::plan::SandboxRecord;

/// The version this program writes into `exit.json`.
pub const EXIT_RECORD_VERSION: u32 = 1;

/// Why a run is over. The JSON names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// The script ended with code 0.
    Completed,
    /// The script ended with another code.
    ScriptFailed,
    /// A signal ended the script, and it was not ours.
    Signal,
    /// The kernel killed the script for want of memory, as far as that can be told.
    OutOfMemory,
    /// The script ran longer than it was allowed to.
    TimeLimit,
    /// A user ended it.
    Cancelled,
    /// The script failed while the disk was full.
    DiskFull,
    /// The run's files took more of the disk than they were allowed to.
    DiskLimit,
    /// The machine was restarted under it.
    HostRebooted,
    /// Its machine cannot be reached any more.
    LostContact,
    /// The supervisor was killed; nothing of the run is left.
    SupervisorKilled,
    /// Its environment could not be prepared.
    EnvironmentFailed,
    /// The sandbox it was to be in could not be had.
    SandboxFailed,
    /// The program is missing or cannot be executed, or there is nothing to run it in.
    CannotStart,
    /// The container engine ended or removed the run's container.
    EngineStopped,
    /// A run that it waited for did not complete.
    DependencyFailed,
    /// The fault is Trainyard's own.
    AgentFault,
}

impl ExitReason {
    /// Every reason, for tables and documentation.
    pub const ALL: [Self; 17] = [
        Self::Completed,
        Self::ScriptFailed,
        Self::Signal,
        Self::OutOfMemory,
        Self::TimeLimit,
        Self::Cancelled,
        Self::DiskFull,
        Self::DiskLimit,
        Self::HostRebooted,
        Self::LostContact,
        Self::SupervisorKilled,
        Self::EnvironmentFailed,
        Self::SandboxFailed,
        Self::CannotStart,
        Self::EngineStopped,
        Self::DependencyFailed,
        Self::AgentFault,
    ];

    /// Returns the name used in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ScriptFailed => "script_failed",
            Self::Signal => "signal",
            Self::OutOfMemory => "out_of_memory",
            Self::TimeLimit => "time_limit",
            Self::Cancelled => "cancelled",
            Self::DiskFull => "disk_full",
            Self::DiskLimit => "disk_limit",
            Self::HostRebooted => "host_rebooted",
            Self::LostContact => "lost_contact",
            Self::SupervisorKilled => "supervisor_killed",
            Self::EnvironmentFailed => "environment_failed",
            Self::SandboxFailed => "sandbox_failed",
            Self::CannotStart => "cannot_start",
            Self::EngineStopped => "engine_stopped",
            Self::DependencyFailed => "dependency_failed",
            Self::AgentFault => "agent_fault",
        }
    }
}

/// What `exit.json` says: how a run ended. Once it is there the run is over, its log is whole
/// and no process of it is left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitRecord {
    /// The version of this record, [`EXIT_RECORD_VERSION`].
    pub version: u32,
    /// Why.
    pub reason: ExitReason,
    /// The script's exit code, when it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// One sentence for people.
    pub message: String,
    /// When the script was started; `None` when it never was.
    pub started_time_utc: Option<Timestamp>,
    /// When all was over.
    pub ended_time_utc: Timestamp,
    /// Who cancelled it.
    pub cancelled_by: Option<CancelledBy>,
    /// How many bytes of output the log holds.
    #[serde(default)]
    pub log_bytes: u64,
    /// How many bytes of output were lost because the log could not be written.
    #[serde(default)]
    pub log_bytes_dropped: u64,
    /// How many processes the script had left behind, which were then ended.
    #[serde(default)]
    pub leftover_processes: u32,
    /// Processor time of the script and its children, as far as it was reaped.
    #[serde(default)]
    pub cpu_seconds: Option<f64>,
    /// The largest resident size of any one process of the run.
    #[serde(default)]
    pub peak_memory_bytes: Option<u64>,
    /// What held its processes together, the limits that it had, and what was counted; `None` when
    /// the script never ran, or nobody was there to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confinement: Option<Box<Confinement>>,
    /// The sandbox it was in; `None` without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Box<SandboxRecord>>,
}

impl ExitRecord {
    /// Starts a record: `reason`, `message` and the time, nothing else known.
    #[must_use]
    pub fn new(reason: ExitReason, message: impl Into<String>, ended: Timestamp) -> Self {
        Self {
            version: EXIT_RECORD_VERSION,
            reason,
            code: None,
            signal: None,
            message: message.into(),
            started_time_utc: None,
            ended_time_utc: ended,
            cancelled_by: None,
            log_bytes: 0,
            log_bytes_dropped: 0,
            leftover_processes: 0,
            cpu_seconds: None,
            peak_memory_bytes: None,
            confinement: None,
            sandbox: None,
        }
    }

    /// Returns the exit code that `run` and `wait` end with: the script's own, 128 + N for a
    /// signal, 124 for the time limit, 130 for a cancelled run, 125 when the fault is ours or the
    /// machine's.
    #[must_use]
    pub fn process_exit_code(&self) -> i32 {
        match self.reason {
            ExitReason::Completed => 0,
            ExitReason::ScriptFailed => self.code.unwrap_or(1),
            ExitReason::Signal | ExitReason::OutOfMemory | ExitReason::DiskLimit => {
                128 + self.signal.unwrap_or(9)
            }
            ExitReason::TimeLimit => 124,
            ExitReason::Cancelled => 130,
            ExitReason::DiskFull
            | ExitReason::HostRebooted
            | ExitReason::LostContact
            | ExitReason::SupervisorKilled
            | ExitReason::EnvironmentFailed
            | ExitReason::SandboxFailed
            | ExitReason::CannotStart
            | ExitReason::EngineStopped
            | ExitReason::DependencyFailed
            | ExitReason::AgentFault => 125,
        }
    }

    /// Reads how `run` ended; `None` while it has not.
    ///
    /// # Errors
    ///
    /// When the record is there and cannot be read.
    pub fn read(run: &RunDirectory) -> Result<Option<Self>, PathError> {
        durable_file::read_json(&run.exit_json())
    }

    /// Records the end of `run` unless it is recorded already; says whether this record counts.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, run: &RunDirectory) -> Result<bool, PathError> {
        durable_file::create_new_json(&run.exit_json(), self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_and_an_exit_code() {
        let mut table = String::new();
        for reason in ExitReason::ALL {
            let mut record = ExitRecord::new(reason, "", Timestamp::UNIX_EPOCH);
            record.code = (reason == ExitReason::ScriptFailed).then_some(3);
            record.signal = (reason == ExitReason::Signal).then_some(11);
            let json = serde_json::to_string(&reason).unwrap();
            assert_eq!(json, format!("\"{}\"", reason.name()));
            table += &format!("{:20}{}\n", reason.name(), record.process_exit_code());
        }
        insta::assert_snapshot!(table, @r#"
        completed           0
        script_failed       3
        signal              139
        out_of_memory       137
        time_limit          124
        cancelled           130
        disk_full           125
        disk_limit          137
        host_rebooted       125
        lost_contact        125
        supervisor_killed   125
        environment_failed  125
        sandbox_failed      125
        cannot_start        125
        engine_stopped      125
        dependency_failed   125
        agent_fault         125
        "#);
    }

    #[test]
    fn the_first_record_counts() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(directory.path());
        let first = ExitRecord::new(ExitReason::Completed, "done", Timestamp::UNIX_EPOCH);
        let second = ExitRecord::new(ExitReason::Cancelled, "late", Timestamp::UNIX_EPOCH);

        assert_eq!(ExitRecord::read(&run).unwrap(), None);
        assert!(first.write(&run).unwrap());
        assert!(!second.write(&run).unwrap());

        assert_eq!(ExitRecord::read(&run).unwrap(), Some(first));
    }

    #[test]
    fn the_file_keeps_its_shape() {
        let record = ExitRecord::new(ExitReason::Completed, "completed", Timestamp::UNIX_EPOCH);
        insta::assert_snapshot!(serde_json::to_string_pretty(&record).unwrap(), @r#"
        {
          "version": 1,
          "reason": "completed",
          "code": null,
          "signal": null,
          "message": "completed",
          "startedTimeUtc": null,
          "endedTimeUtc": "1970-01-01T00:00:00Z",
          "cancelledBy": null,
          "logBytes": 0,
          "logBytesDropped": 0,
          "leftoverProcesses": 0,
          "cpuSeconds": null,
          "peakMemoryBytes": null
        }
        "#);
    }
}
