//! A target that was detached, or whose file is gone: its runs end, and say so.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use images::cache::EnvironmentLease;
use images::environment::PreparedEnvironment;
use jiff::Timestamp;
use runner::cancel_request::CancelRequest;
use runner::compute_target::{
    ComputeTarget, LostReason, Needs, NotPrepared, OutOfContact, Place, Ready, SupervisorState,
    TargetError, Told,
};
use runner::exit_record::{ExitReason, ExitRecord};
use runner::gpu::GpuUser;
use runner::outputs::Outputs;
use runner::run_directory::RunDirectory;
use snapshots::digest::Digest;
use snapshots::store::local::LocalStore;

/// Stands for a target that is not attached.
pub(super) struct Absent {
    name: String,
}

impl Absent {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    fn told(&self) -> Told {
        Told {
            reason: ExitReason::LostContact,
            message: format!("target {:?} is not attached any more", self.name),
            hint: Some("`trainyard target attach` attaches it again".to_owned()),
        }
    }

    fn refuse<T>(&self) -> Result<T, TargetError> {
        Err(TargetError::Told { told: self.told() })
    }
}

impl ComputeTarget for Absent {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> Result<Place, TargetError> {
        self.refuse()
    }

    fn prepare(
        &self,
        _: &RunDirectory,
        _: &Needs,
        _: &LocalStore,
        _: &AtomicBool,
    ) -> Result<Ready, NotPrepared> {
        Err(NotPrepared::Told(self.told()))
    }

    fn lease(&self, _: &PreparedEnvironment) -> Result<Option<EnvironmentLease>, TargetError> {
        Ok(None)
    }

    fn gpus(&self, _: u32) -> Result<Vec<String>, TargetError> {
        self.refuse()
    }

    fn gpu_users(&self) -> Result<Vec<GpuUser>, TargetError> {
        self.refuse()
    }

    fn start(&self, _: &RunDirectory) -> Result<(), TargetError> {
        self.refuse()
    }

    fn probe(&self, _: &RunDirectory) -> Result<SupervisorState, TargetError> {
        Ok(SupervisorState::Lost(LostReason::SupervisorGone))
    }

    fn wait(&self, run: &RunDirectory, _: Duration) -> Result<SupervisorState, TargetError> {
        self.probe(run)
    }

    fn cancel(&self, _: &RunDirectory, _: &CancelRequest) -> Result<(), TargetError> {
        Ok(())
    }

    fn settle(&self, _: &RunDirectory) -> Result<ExitRecord, TargetError> {
        let Told { reason, message, .. } = self.told();
        Ok(ExitRecord::new(reason, message, Timestamp::now()))
    }

    fn collect(
        &self,
        _: &RunDirectory,
        _: &Digest,
        _: &LocalStore,
    ) -> Result<Outputs, TargetError> {
        self.refuse()
    }

    fn packages(&self, _: &PreparedEnvironment) -> Result<Arc<[String]>, TargetError> {
        self.refuse()
    }

    fn release(&self, _: &RunDirectory) -> Result<(), TargetError> {
        Ok(())
    }

    fn out_of_contact(&self) -> Option<OutOfContact> {
        None
    }
}
