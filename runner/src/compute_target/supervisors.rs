//! Supervisors on this machine, detached from whoever starts them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use images::host::HostVariables;
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use snapshots::path_error::{IoContext as _, PathError};

use crate::cancel_request::CancelRequest;
use crate::compute_target::sweep::{self, sweep};
use crate::compute_target::{LostReason, SupervisorState, TargetError};
use crate::detached;
use crate::exit_record::{ExitReason, ExitRecord};
use crate::process_identity::{ProcessIdentity, boot_id};
use crate::run_directory::RunDirectory;
use crate::sandbox::cgroup;
use crate::supervisor::claim::SupervisorRecord;
use crate::supervisor::{FirstWord, LostError, close_lost_run, end_container};

/// Starts supervisors on this machine and speaks to them.
#[derive(Clone, Debug)]
pub struct Supervisors {
    program: PathBuf,
    engine: BTreeMap<OsString, OsString>,
}

/// The variables that say where the container engine is: the only ones a supervisor is given.
const ENGINE_VARIABLES: &[&str] = &[
    "DOCKER_CERT_PATH",
    "DOCKER_CONFIG",
    "DOCKER_HOST",
    "DOCKER_TLS_VERIFY",
    "HOME",
    "XDG_RUNTIME_DIR",
];

impl Supervisors {
    /// Starts supervisors as `program supervise RUN_DIR`; as a rule `program` is the caller's own,
    /// from `std::env::current_exe()`. They find the container engine as this process does.
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        let variables = std::env::vars_os();
        Self { program, engine: BTreeMap::new() }.with_engine(variables)
    }

    /// Has the container engine found by `variables`, of which the others are left out.
    #[must_use]
    pub fn with_engine(
        mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let names_it = |name: &OsStr| ENGINE_VARIABLES.iter().any(|known| name == *known);
        self.engine = variables.into_iter().filter(|(name, _)| names_it(name)).collect();
        self
    }

    /// Returns a descriptor that becomes readable when a process of the supervisor of `run` ends;
    /// `None` when none is alive. Probe afterwards: there are two such processes.
    ///
    /// # Errors
    ///
    /// When the run directory or `/proc` cannot be read.
    pub fn watch(&self, run: &RunDirectory) -> Result<Option<OwnedFd>, TargetError> {
        let Some(record) = SupervisorRecord::read(run)? else { return Ok(None) };
        for _ in 0..2 {
            let Some(process) = record.alive()? else { return Ok(None) };
            let descriptor = Pid::from_raw(process.pid)
                .and_then(|pid| pidfd_open(pid, PidfdFlags::NONBLOCK).ok());
            // Only now is it certain that the descriptor is of the process that was meant.
            if process.is_alive()? {
                return Ok(descriptor);
            }
        }
        Ok(None)
    }

    fn end_container(&self, run: &RunDirectory) -> Result<(), TargetError> {
        end_container(run, &HostVariables::new(self.engine.clone())).map_err(|error| match error {
            LostError::Engine { name, source } => {
                TargetError::Container { run: run.path().to_owned(), name, source }
            }
            LostError::Path(error) => TargetError::Path(error),
        })
    }

    fn spawn(&self, run: &RunDirectory) -> io::Result<String> {
        let mut command = Command::new(&self.program);
        command.arg("supervise").arg(run.path()).env_clear().envs(&self.engine);
        detached::start(&mut command, &run.supervisor_log())
    }
}

impl Supervisors {
    /// Starts a supervisor for `run`, whose `launch.json` is there, and returns as soon as it has
    /// taken the run over. The supervisor outlives the caller.
    ///
    /// # Errors
    ///
    /// As [`ComputeTarget::start`](super::ComputeTarget::start).
    pub fn start(&self, run: &RunDirectory) -> Result<ProcessIdentity, TargetError> {
        let path = || run.path().to_owned();
        if SupervisorRecord::read(run)?.is_some() || run.exit_json().exists() {
            return Err(TargetError::AlreadyStarted { run: path() });
        }
        let said = self
            .spawn(run)
            .map_err(|source| TargetError::Spawn { program: self.program.clone(), source })?;
        if said == FirstWord::AlreadyStarted.text() {
            return Err(TargetError::AlreadyStarted { run: path() });
        }
        match SupervisorRecord::read(run)? {
            // Even when it said nothing: killed at once, it has ended the run, as a probe tells.
            Some(record) => Ok(record.guard),
            None => Err(TargetError::NotTakenOver { run: path(), said: last_words(run) }),
        }
    }

    /// Says where the supervisor of `run` stands.
    ///
    /// # Errors
    ///
    /// When the run directory cannot be read.
    pub fn probe(&self, run: &RunDirectory) -> Result<SupervisorState, TargetError> {
        if let Some(record) = ExitRecord::read(run)? {
            return Ok(SupervisorState::Ended(record));
        }
        let Some(record) = SupervisorRecord::read(run)? else {
            return Ok(SupervisorState::NotStarted);
        };
        if let Some(process) = record.alive()? {
            return Ok(SupervisorState::Running(process.clone()));
        }
        // It may have written the record between the two looks.
        if let Some(record) = ExitRecord::read(run)? {
            return Ok(SupervisorState::Ended(record));
        }
        let rebooted = record.guard.boot_id != boot_id()?;
        Ok(SupervisorState::Lost(if rebooted {
            LostReason::HostRebooted
        } else {
            LostReason::SupervisorGone
        }))
    }

    /// Waits until the supervisor of `run` is gone, but no longer than `limit`, and probes.
    ///
    /// # Errors
    ///
    /// As [`probe`](Self::probe).
    pub fn wait(
        &self,
        run: &RunDirectory,
        limit: Duration,
    ) -> Result<SupervisorState, TargetError> {
        let begun = Instant::now();
        loop {
            let state = self.probe(run)?;
            let left = limit.saturating_sub(begun.elapsed());
            if left.is_zero() || !matches!(state, SupervisorState::Running(_)) {
                return Ok(state);
            }
            if let Some(descriptor) = self.watch(run)? {
                let left = Timespec {
                    tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: left.subsec_nanos().into(),
                };
                // Interrupted or not, the state is looked at again.
                let _woken = poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&left));
            }
        }
    }

    /// Asks the supervisor of `run` to end it. Also counts if the supervisor starts later.
    ///
    /// # Errors
    ///
    /// When the request could not be left there.
    pub fn cancel(&self, run: &RunDirectory, request: &CancelRequest) -> Result<(), TargetError> {
        Ok(request.write(run)?)
    }

    /// Ends what a supervisor that is gone left of `run` and records why it ended.
    ///
    /// # Errors
    ///
    /// As [`ComputeTarget::settle`](super::ComputeTarget::settle).
    pub fn settle(&self, run: &RunDirectory) -> Result<ExitRecord, TargetError> {
        let path = || run.path().to_owned();
        let (reason, message) = match self.probe(run)? {
            SupervisorState::Ended(record) => return Ok(record),
            SupervisorState::Running(_) => {
                return Err(TargetError::StillSupervised { run: path() });
            }
            SupervisorState::NotStarted => return Err(TargetError::NotStarted { run: path() }),
            SupervisorState::Lost(LostReason::HostRebooted) => {
                (ExitReason::HostRebooted, "the machine was restarted while the run was running")
            }
            SupervisorState::Lost(LostReason::SupervisorGone) => {
                (ExitReason::SupervisorKilled, "both processes of the supervisor were killed")
            }
        };
        let mut record = ExitRecord::new(reason, message, Timestamp::now());
        // First, so that what it forks meanwhile is gone with it.
        self.end_container(run)?;
        if reason == ExitReason::SupervisorKilled {
            let swept = cgroup::end_lost(run)?.and(sweep(run, &sweep::Marks::of(run)?)?);
            if !swept.remaining.is_empty() {
                return Err(TargetError::Unkillable { run: path(), pids: swept.remaining });
            }
            record.leftover_processes = swept.killed;
            record.ended_time_utc = Timestamp::now();
        }
        close_lost_run(run, record.clone())?;
        Ok(ExitRecord::read(run)?.unwrap_or(record))
    }
}

/// Returns the last line that the supervisor of `run` said.
fn last_words(run: &RunDirectory) -> String {
    let log: Result<Vec<u8>, PathError> =
        fs::read(run.supervisor_log()).context("read", run.supervisor_log());
    let log = log.unwrap_or_default();
    let text = String::from_utf8_lossy(&log);
    text.lines().next_back().unwrap_or("it said nothing").to_owned()
}
