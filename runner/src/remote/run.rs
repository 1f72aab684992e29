//! A run on this machine, as an agent elsewhere asked for it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use images::environment::PreparedEnvironment;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use snapshots::path_error::{IoContext as _, PathError};

use super::lock::FileLock;
use super::message::{Refusal, RefusalKind, Standing};
use crate::cancel_request::{CancelRequest, CancelledBy};
use crate::compute_target::local::LocalTarget;
use crate::compute_target::{ComputeTarget as _, Needs, SupervisorState, TargetError, Told};
use crate::detached;
use crate::durable_file;
use crate::process_identity::boot_id;
use crate::run_directory::RunDirectory;
use crate::script_user::ScriptUser;

/// A run directory on this machine, with the files that it has only here.
#[derive(Clone, Debug)]
pub(super) struct RemoteRun {
    pub(super) directory: RunDirectory,
}

/// `owner.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OwnerRecord {
    pub(super) version: u32,
    pub(super) owner: String,
}

/// `prepare.json`: the run is known here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PrepareRecord {
    pub(super) version: u32,
    pub(super) needs: Needs,
}

/// `prepared.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PreparedRecord {
    pub(super) version: u32,
    /// What was laid out before the machine was booted again is not relied on.
    pub(super) boot_id: String,
    pub(super) time_utc: Timestamp,
    pub(super) outcome: Outcome,
}

/// What came of a preparation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(super) enum Outcome {
    Prepared {
        environment: Box<PreparedEnvironment>,
        warnings: Vec<String>,
        /// Whether somebody has to keep the environment.
        leased: bool,
    },
    NotPrepared {
        told: Told,
    },
}

impl PreparedRecord {
    pub(super) fn new(outcome: Outcome) -> Result<Self, PathError> {
        Ok(Self { version: 1, boot_id: boot_id()?, time_utc: Timestamp::now(), outcome })
    }
}

/// How long a preparation may take to end that nobody wants any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a preparer says first, on its stdout, which it then closes.
pub(super) const TAKEN: &str = "taken\n";

impl RemoteRun {
    pub(super) fn new(directory: RunDirectory) -> Self {
        Self { directory }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn owner_json(&self) -> PathBuf {
        self.file("owner.json")
    }

    pub(super) fn prepare_json(&self) -> PathBuf {
        self.file("prepare.json")
    }

    pub(super) fn prepared_json(&self) -> PathBuf {
        self.file("prepared.json")
    }

    pub(super) fn prepare_lock(&self) -> PathBuf {
        self.file("prepare.lock")
    }

    pub(super) fn prepare_tries(&self) -> PathBuf {
        self.file("prepare.tries")
    }

    /// Waits until nobody else starts, settles or removes the run.
    pub(super) fn lock(&self) -> Result<FileLock, PathError> {
        FileLock::take(&self.file("start.lock"))
    }

    /// Returns what the run needs; `None`: there is no such run.
    pub(super) fn needs(&self) -> Result<Option<Needs>, PathError> {
        let record: Option<PrepareRecord> = durable_file::read_json(&self.prepare_json())?;
        Ok(record.map(|record| record.needs))
    }

    /// Returns whose the run is.
    pub(super) fn owner(&self) -> Result<Option<String>, PathError> {
        let record: Option<OwnerRecord> = durable_file::read_json(&self.owner_json())?;
        Ok(record.map(|record| record.owner))
    }

    /// Returns what came of preparing it, as far as that still holds.
    pub(super) fn outcome(&self) -> Result<Option<Outcome>, PathError> {
        let record: Option<PreparedRecord> = durable_file::read_json(&self.prepared_json())?;
        let Some(record) = record else { return Ok(None) };
        let holds = match &record.outcome {
            Outcome::NotPrepared { .. } => true,
            Outcome::Prepared { .. } => record.boot_id == boot_id()?,
        };
        Ok(holds.then_some(record.outcome))
    }

    /// Makes the run one that is not prepared.
    pub(super) fn forget_outcome(&self) -> Result<(), PathError> {
        let path = self.prepared_json();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).context("remove", path)
            }
            _ => Ok(()),
        }
    }

    /// Says whether a process prepares the run or keeps its environment.
    pub(super) fn is_held(&self) -> Result<bool, PathError> {
        FileLock::is_held(&self.prepare_lock())
    }

    /// Says where the run stands.
    pub(super) fn standing(&self, target: &LocalTarget) -> Result<Standing, TargetError> {
        if !self.prepare_json().exists() {
            return Ok(Standing::Unknown);
        }
        // Before the supervisor: what was prepared and started since is supervised.
        let outcome = self.outcome()?;
        Ok(match (target.probe(&self.directory)?, outcome) {
            (SupervisorState::NotStarted, None) => Standing::Preparing,
            (SupervisorState::NotStarted, Some(Outcome::NotPrepared { told })) => {
                Standing::NotPrepared { told }
            }
            (
                SupervisorState::NotStarted,
                Some(Outcome::Prepared { environment, warnings, .. }),
            ) => Standing::Prepared { environment, warnings },
            (state, _) => Standing::Supervised { state },
        })
    }

    /// Says whether a process should be at the run that is not: one died, or the machine did.
    pub(super) fn is_abandoned(&self) -> Result<bool, PathError> {
        if self.directory.exit_json().exists() || self.is_held()? {
            return Ok(false);
        }
        Ok(match self.outcome()? {
            None => !self.directory.supervisor_json().exists(),
            Some(Outcome::Prepared { leased, .. }) => leased,
            Some(Outcome::NotPrepared { .. }) => false,
        })
    }

    /// Starts `program remote prepare` for the run, and returns as soon as it has taken it over, or
    /// found that another has. It outlives the caller.
    pub(super) fn spawn_preparer(&self, program: &Path) -> Result<(), PathError> {
        let mut command = Command::new(program);
        command.args(["remote", "prepare"]).arg(self.directory.path());
        let started = detached::start(&mut command, &self.file("prepare.log"));
        started.map(drop).context("start what prepares", self.directory.path())
    }

    /// Ends the preparation of a run that nobody wants any more, if one is going on.
    pub(super) fn end_preparation(&self) -> Result<(), Refusal> {
        if self.outcome()?.is_some() || !self.is_held()? {
            return Ok(());
        }
        let user = ScriptUser::current();
        let by = CancelledBy { uid: user.uid, user: Some(user.name) };
        CancelRequest::new(by, Timestamp::now(), true).write(&self.directory)?;
        let begun = Instant::now();
        while self.outcome()?.is_none() && self.is_held()? {
            if begun.elapsed() > PATIENCE {
                let what = format!("what prepares {:?} does not end", self.directory.path());
                return Err(Refusal::new(RefusalKind::StillSupervised, what));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Takes down that a preparation begins, and returns how many have since the machine was booted,
    /// this one included.
    pub(super) fn begin_try(&self) -> Result<usize, PathError> {
        let (path, boot) = (self.prepare_tries(), boot_id()?);
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(&path);
        let mut file = file.context("open", &path)?;
        file.write_all(format!("{boot}\n").as_bytes()).context("write", &path)?;
        let begun = fs::read_to_string(&path).context("read", &path)?;
        Ok(begun.lines().filter(|line| *line == boot).count())
    }

    /// Removes the values that the run was given, if they are still there.
    pub(super) fn forget_values(&self) -> Result<(), PathError> {
        self.directory.forget_secrets()?;
        self.directory.forget_registry_password()
    }
}
