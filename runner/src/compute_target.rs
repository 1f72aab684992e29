//! Where runs are carried out: the border, and the local target.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use images::cache::EnvironmentLease;
use images::engine::EngineError;
use images::environment::{Environment, PreparedEnvironment};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use snapshots::digest::Digest;
use snapshots::path_error::PathError;
use snapshots::store::local::LocalStore;

use crate::cancel_request::CancelRequest;
use crate::exit_record::ExitRecord;
use crate::gpu::{GpuError, GpuUser};
use crate::installed_packages::NoPackages;
use crate::outputs::Outputs;
use crate::process_identity::ProcessIdentity;
use crate::run_directory::RunDirectory;
use crate::run_id::RunId;
use crate::script_user::ScriptUser;
use crate::ssh::SshError;

pub mod local;
mod not_prepared;
pub mod ssh;
pub mod supervisors;
mod sweep;

pub use not_prepared::{NotPrepared, Told};

/// A place that runs can be carried out on: it prepares them, starts supervisors and speaks to
/// them.
///
/// Every run has a directory at home, which the calls name. On another machine it has a second
/// one, and that at home is brought up to date as the run goes on: whoever reads logs, events and
/// metrics reads them there, wherever the run is.
///
/// An implementation owns nothing but the way to that place; queueing and records stay with the
/// caller. The calls block; those that take a limit do so for no longer than that. Every call can
/// be made again after one of which the caller does not know what came.
pub trait ComputeTarget: Send + Sync {
    /// Returns the name that a run configuration's `target` says.
    fn name(&self) -> &str;

    /// Returns what a run finds there.
    ///
    /// # Errors
    ///
    /// When the place cannot be asked.
    fn place(&self) -> Result<Place, TargetError>;

    /// Lays the source of `run`, which `objects` has, out and makes its environment ready. What is
    /// said on the way is appended to the build log. Setting `cancelled` ends it.
    ///
    /// # Errors
    ///
    /// [`NotPrepared`]: the run cannot be started. A place out of reach is waited for.
    fn prepare(
        &self,
        run: &RunDirectory,
        needs: &Needs,
        objects: &LocalStore,
        cancelled: &AtomicBool,
    ) -> Result<Ready, NotPrepared>;

    /// Keeps the environment of a run that was started from being removed; `None` where nothing
    /// need be done for that.
    ///
    /// # Errors
    ///
    /// It is not there any more.
    fn lease(
        &self,
        environment: &PreparedEnvironment,
    ) -> Result<Option<EnvironmentLease>, TargetError>;

    /// Returns the UUIDs of `count` GPUs.
    ///
    /// # Errors
    ///
    /// There are not as many, or the place cannot be asked.
    fn gpus(&self, count: u32) -> Result<Vec<String>, TargetError>;

    /// Returns the processes that have memory on GPUs, whosever they are.
    ///
    /// # Errors
    ///
    /// The place or its driver cannot be asked.
    fn gpu_users(&self) -> Result<Vec<GpuUser>, TargetError>;

    /// Starts a supervisor for `run`, whose `launch.json` is there, and returns as soon as it
    /// has taken the run over. The supervisor outlives the caller.
    ///
    /// # Errors
    ///
    /// - [`TargetError::AlreadyStarted`]: the run has had a supervisor. Probe it.
    /// - [`TargetError::OutOfContact`]: nobody knows. Start it again.
    /// - [`TargetError::NotPrepared`]: it has never had one. Prepare it again.
    /// - others: no supervisor runs; the run has not been started.
    fn start(&self, run: &RunDirectory) -> Result<(), TargetError>;

    /// Says where the supervisor of `run` stands.
    ///
    /// # Errors
    ///
    /// When the place cannot be asked. That says nothing about the run.
    fn probe(&self, run: &RunDirectory) -> Result<SupervisorState, TargetError>;

    /// Waits until the supervisor of `run` is gone, but no longer than `limit`, and probes. What is
    /// told of as ended is whole at home, but for its outputs.
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

    /// Lists what `run`, which began with `snapshot` of `objects`, left in `outputs/` and `logs/`,
    /// and brings it home. Of a run that is still on: what there is now, as far as it stands still.
    ///
    /// # Errors
    ///
    /// Not all of it is at home. Try again.
    fn collect(
        &self,
        run: &RunDirectory,
        snapshot: &Digest,
        objects: &LocalStore,
    ) -> Result<Outputs, TargetError>;

    /// Returns what is installed in `environment`, as `pip freeze` says it.
    ///
    /// # Errors
    ///
    /// It cannot be asked.
    fn packages(&self, environment: &PreparedEnvironment) -> Result<Arc<[String]>, TargetError>;

    /// Lets the place forget `run`: it is over, and all of it is at home.
    ///
    /// # Errors
    ///
    /// Try again.
    fn release(&self, run: &RunDirectory) -> Result<(), TargetError>;

    /// Says since when the place cannot be reached, and why; `None` while it can, or was not tried.
    fn out_of_contact(&self) -> Option<OutOfContact>;
}

/// What a run finds on a compute target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The state directory there, links resolved.
    pub home: PathBuf,
    /// Who scripts run as.
    pub user: ScriptUser,
    /// Whether containers run as whoever submitted, who is known there by the same number.
    pub knows_submitters: bool,
    /// The machine's boot.
    pub boot_id: String,
}

impl Place {
    /// Names the directory of `run` there.
    #[must_use]
    pub fn run_directory(&self, run: &RunId) -> RunDirectory {
        RunDirectory::new(self.home.join("runs").join(run.as_str()))
    }

    /// Returns the state directory as it is written on what is made in a container engine: the same
    /// however it was named.
    #[must_use]
    pub fn label(&self) -> String {
        self.home.to_string_lossy().into_owned()
    }

    /// Returns who scripts in containers run as that `submitter` handed in.
    #[must_use]
    pub fn user_in_container(&self, submitter: u32) -> ScriptUser {
        if self.knows_submitters { self.user.in_container(submitter) } else { self.user.clone() }
    }
}

/// What a run needs before it can be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Needs {
    /// Its source.
    pub snapshot: Digest,
    /// What it runs in. The password for the registry of an image is in the run directory.
    pub environment: Environment,
    /// Whether what is there of the environment does not count.
    pub fresh: bool,
}

/// A run that can be started.
#[derive(Debug)]
pub struct Ready {
    /// Its environment.
    pub environment: PreparedEnvironment,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Keeps the environment from being removed, where that is up to the caller.
    pub lease: Option<EnvironmentLease>,
}

/// Since when a place cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutOfContact {
    /// When it was heard of last.
    pub since: Timestamp,
    /// What the last try met with.
    pub why: String,
    /// What to do about it, if there is something.
    pub hint: Option<String>,
}

/// Where a run's supervisor stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "supervisor", content = "with", rename_all = "snake_case")]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// What was prepared is gone, as after the machine was started anew: prepare it again.
    #[error("run {run:?} is not prepared any more: the machine was restarted before it started")]
    NotPrepared {
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
    /// The place cannot be reached now.
    #[error("target {target:?} has been out of contact since {}: {}", contact.since, contact.why)]
    OutOfContact {
        /// The target.
        target: String,
        /// Since when, and why.
        contact: OutOfContact,
    },
    /// The place can be reached, and cannot do it.
    #[error("{}", told.message)]
    Told {
        /// Why.
        told: Told,
    },
    /// The way to the place is closed: the host key, the login.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// There are no GPUs to give.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The environment cannot be asked, or is gone.
    #[error(transparent)]
    Packages(#[from] NoPackages),
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
            Self::OutOfContact { contact, .. } => contact.hint.clone(),
            Self::Told { told } => told.hint.clone(),
            Self::Ssh(error) => error.hint(),
            Self::Gpu(error) => error.hint(),
            Self::AlreadyStarted { .. }
            | Self::NotPrepared { .. }
            | Self::Packages(_)
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
