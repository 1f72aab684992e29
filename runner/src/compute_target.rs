//! Where runs are carried out: the border, and the local target.

use std::path::PathBuf;
use std::time::Duration;

use images::engine::EngineError;
use snapshots::path_error::PathError;

use crate::cancel_request::CancelRequest;
use crate::exit_record::ExitRecord;
use crate::process_identity::ProcessIdentity;
use crate::run_directory::RunDirectory;

pub mod local;
mod sweep;

/// A place that runs can be carried out on: it starts supervisors and speaks to them.
///
/// An implementation owns nothing but the way to that place; queueing and records stay with the
/// caller. The calls block; those that take a limit do so for no longer than that.
pub trait ComputeTarget: Send + Sync {
    /// Returns the name that a run configuration's `target` says.
    fn name(&self) -> &str;

    /// Starts a supervisor for `run`, whose `launch.json` is there, and returns as soon as it
    /// has taken the run over. The supervisor outlives the caller.
    ///
    /// # Errors
    ///
    /// - [`TargetError::AlreadyStarted`]: the run has had a supervisor. Probe it.
    /// - others: no supervisor runs; the run has not been started.
    fn start(&self, run: &RunDirectory) -> Result<ProcessIdentity, TargetError>;

    /// Says where the supervisor of `run` stands.
    ///
    /// # Errors
    ///
    /// When the place cannot be asked. That says nothing about the run.
    fn probe(&self, run: &RunDirectory) -> Result<SupervisorState, TargetError>;

    /// Waits until the supervisor of `run` is gone, but no longer than `limit`, and probes.
    ///
    /// # Errors
    ///
    /// As [`probe`](Self::probe).
    fn wait(&self, run: &RunDirectory, limit: Duration) -> Result<SupervisorState, TargetError>;

    /// Asks the supervisor of `run` to end it. Also counts if the supervisor starts later.
    ///
    /// # Errors
    ///
    /// When the request could not be left there.
    fn cancel(&self, run: &RunDirectory, request: &CancelRequest) -> Result<(), TargetError>;

    /// Ends what a supervisor that is gone left of `run` and records why it ended. Returns the
    /// record that is there when it is already.
    ///
    /// # Errors
    ///
    /// - [`TargetError::StillSupervised`]: a supervisor is at it.
    /// - [`TargetError::NotStarted`]: there never was one.
    /// - others: try again.
    fn settle(&self, run: &RunDirectory) -> Result<ExitRecord, TargetError>;
}

/// Where a run's supervisor stands.
#[derive(Clone, Debug, PartialEq)]
pub enum SupervisorState {
    /// There was none yet.
    NotStarted,
    /// It is at work.
    Running(ProcessIdentity),
    /// The run is over.
    Ended(ExitRecord),
    /// It is gone without a word: [`ComputeTarget::settle`] is next.
    Lost(LostReason),
}

/// Why there is no supervisor where one should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostReason {
    /// The machine was booted since.
    HostRebooted,
    /// Its processes are gone from a machine that was not.
    SupervisorGone,
}

/// Why a compute target could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The supervisor's program did not start.
    #[error("cannot start the supervisor {program:?}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The supervisor ended before it took the run over.
    #[error("the supervisor of {run:?} did not take it over: {said}")]
    NotTakenOver {
        /// The run directory.
        run: PathBuf,
        /// What it said.
        said: String,
    },
    /// A run is started once.
    #[error("run {run:?} has been started already")]
    AlreadyStarted {
        /// The run directory.
        run: PathBuf,
    },
    /// A run that nobody has started needs no end: start it.
    #[error("run {run:?} has not been started")]
    NotStarted {
        /// The run directory.
        run: PathBuf,
    },
    /// Only a lost run can be settled.
    #[error("run {run:?} is still supervised")]
    StillSupervised {
        /// The run directory.
        run: PathBuf,
    },
    /// Processes of a lost run cannot be ended: they belong to somebody else.
    #[error("cannot end processes {pids:?} of run {run:?}")]
    Unkillable {
        /// The run directory.
        run: PathBuf,
        /// The processes.
        pids: Vec<i32>,
    },
    /// The container of a lost run may be on: its engine does not answer.
    #[error("cannot end the container {name:?} of run {run:?}")]
    Container {
        /// The run directory.
        run: PathBuf,
        /// The container.
        name: String,
        /// What the engine answered.
        source: EngineError,
    },
    /// A file of the run directory cannot be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl TargetError {
    /// Returns one sentence on what to do next, to be printed after the error.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Spawn { .. } => {
                Some("check that the program is there and may be executed".to_owned())
            }
            Self::NotTakenOver { run, .. } => {
                Some(format!("{:?} may say more", run.join("supervisor.log")))
            }
            Self::Unkillable { pids, .. } => {
                let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
                Some(format!("end them as the user they belong to: kill -9 {}", pids.join(" ")))
            }
            Self::Container { source, .. } => Some(source.hint().unwrap_or_else(|| {
                "see whether the container engine is running; this is tried again".to_owned()
            })),
            Self::AlreadyStarted { .. }
            | Self::NotStarted { .. }
            | Self::StillSupervised { .. }
            | Self::Path(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do_next() {
        let unkillable = TargetError::Unkillable { run: "/r".into(), pids: vec![7, 8] };
        assert_eq!(unkillable.to_string(), r#"cannot end processes [7, 8] of run "/r""#);
        let hint = unkillable.hint().unwrap();
        assert_eq!(hint, "end them as the user they belong to: kill -9 7 8");

        let silent = TargetError::NotTakenOver { run: "/r".into(), said: "no".to_owned() };
        assert_eq!(silent.hint().unwrap(), r#""/r/supervisor.log" may say more"#);
        assert_eq!(TargetError::NotStarted { run: "/r".into() }.hint(), None);
    }
}
