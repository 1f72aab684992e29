//! Runs: prepared, started, ended, forgotten.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Server;
use crate::cancel_request::CancelRequest;
use crate::compute_target::{ComputeTarget as _, Needs, SupervisorState, TargetError};
use crate::durable_file;
use crate::exit_record::{ExitReason, ExitRecord};
use crate::launch::Launch;
use crate::remote::cleaning;
use crate::remote::message::{Done, Hidden, Refusal, RefusalKind, Started};
use crate::remote::run::{Outcome, OwnerRecord, PrepareRecord, RemoteRun};
use crate::run_id::RunId;
use crate::supervisor::claim::SupervisorRecord;

impl Server<'_> {
    pub(super) fn run(&self, run: &RunId) -> RemoteRun {
        RemoteRun::new(self.home.run(run))
    }

    /// Returns a run that was asked for.
    pub(super) fn known(&self, run: &RunId) -> Result<RemoteRun, Refusal> {
        let known = self.run(run);
        if known.prepare_json().exists() {
            return Ok(known);
        }
        Err(Refusal::new(RefusalKind::NotFound, format!("the machine has no run {run}")))
    }

    pub(super) fn prepare(
        &self,
        run: &RunId,
        owner: String,
        needs: Needs,
        registry_password: Option<Hidden>,
    ) -> Result<Done, Refusal> {
        self.home.create()?;
        let remote = self.run(run);
        remote.directory.create()?;
        let record = OwnerRecord { version: 1, owner };
        if !durable_file::create_new_json(&remote.owner_json(), &record)?
            && remote.owner()?.as_ref() != Some(&record.owner)
        {
            let what = format!("run {run} belongs to another agent");
            return Err(Refusal::new(RefusalKind::Invalid, what));
        }
        if let Some(password) = registry_password
            && remote.outcome()?.is_none()
        {
            durable_file::write_json(&remote.directory.registry_json(), &password)?;
        }
        let record = PrepareRecord { version: 1, needs };
        if !durable_file::create_new_json(&remote.prepare_json(), &record)?
            && remote.needs()?.as_ref() != Some(&record.needs)
        {
            let what = format!("run {run} was to be prepared otherwise before");
            return Err(Refusal::new(RefusalKind::Invalid, what));
        }
        self.take_up(&remote)?;
        Ok(Done {})
    }

    /// Sees to it that a process is at what has to be done for `run`.
    pub(super) fn take_up(&self, run: &RemoteRun) -> Result<(), Refusal> {
        if run.is_abandoned()? {
            run.spawn_preparer(&self.program)?;
        }
        Ok(())
    }

    pub(super) fn start(
        &self,
        run: &RunId,
        launch: &Launch,
        secrets: BTreeMap<String, Hidden>,
    ) -> Result<Started, Refusal> {
        if launch.run_id != *run {
            let what = format!("run {run} cannot be started as {}", launch.run_id);
            return Err(Refusal::new(RefusalKind::Invalid, what));
        }
        let remote = self.known(run)?;
        let _alone = remote.lock()?;
        let remote = self.known(run)?;
        let directory = &remote.directory;
        if SupervisorRecord::read(directory)?.is_some() || directory.exit_json().exists() {
            return Ok(Started::Before);
        }
        self.take_up(&remote)?;
        if !matches!(remote.outcome()?, Some(Outcome::Prepared { .. })) {
            let what = format!("run {run} is not prepared");
            return Err(Refusal::new(RefusalKind::NotPrepared, what));
        }
        durable_file::write_json(&directory.launch_json(), launch)?;
        if !secrets.is_empty() {
            durable_file::write_json(&directory.secrets_json(), &secrets)?;
        }
        match self.workshop()?.target.start(directory) {
            Ok(()) => Ok(Started::Now),
            Err(TargetError::AlreadyStarted { .. }) => Ok(Started::Before),
            Err(error) => {
                // No supervisor is there to do it.
                directory.forget_secrets()?;
                Err(error.into())
            }
        }
    }

    pub(super) fn cancel(&self, run: &RunId, cancel: &CancelRequest) -> Result<Done, Refusal> {
        let run = self.known(run)?;
        self.workshop()?.target.cancel(&run.directory, cancel)?;
        Ok(Done {})
    }

    pub(super) fn settle(&self, run: &RunId) -> Result<ExitRecord, Refusal> {
        let remote = self.known(run)?;
        let _alone = remote.lock()?;
        let remote = self.known(run)?;
        let directory = &remote.directory;
        let target = &self.workshop()?.target;
        let cancel = CancelRequest::read(directory)?;
        let record = match (target.probe(directory)?, cancel) {
            (SupervisorState::NotStarted, Some(cancel)) => {
                let message = format!("the run was cancelled by {} before it started", cancel.by);
                let mut record = ExitRecord::new(ExitReason::Cancelled, message, Timestamp::now());
                record.cancelled_by = Some(cancel.by);
                record.write(directory)?;
                ExitRecord::read(directory)?.unwrap_or(record)
            }
            _ => target.settle(directory)?,
        };
        remote.forget_values()?;
        Ok(record)
    }

    pub(super) fn release(&self, run: &RunId) -> Result<Done, Refusal> {
        let remote = self.run(run);
        if !remote.directory.path().exists() {
            return Ok(Done {});
        }
        let _alone = remote.lock()?;
        match self.workshop()?.target.probe(&remote.directory)? {
            SupervisorState::Ended(_) | SupervisorState::NotStarted => {}
            SupervisorState::Running(_) | SupervisorState::Lost(_) => {
                let what = format!("run {run} is still supervised");
                return Err(Refusal::new(RefusalKind::StillSupervised, what));
            }
        }
        remote.end_preparation()?;
        cleaning::remove_run(&self.home, run, &remote)?;
        Ok(Done {})
    }
}
