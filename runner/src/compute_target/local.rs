//! The local target: supervisors on this machine, detached from whoever starts them.

use std::path::PathBuf;
use std::time::Duration;

use crate::cancel_request::CancelRequest;
use crate::compute_target::{ComputeTarget, SupervisorState, TargetError};
use crate::exit_record::ExitRecord;
use crate::process_identity::ProcessIdentity;
use crate::run_directory::RunDirectory;

/// This machine.
#[derive(Clone, Debug)]
pub struct LocalTarget {
    program: PathBuf,
}

impl LocalTarget {
    /// Starts supervisors as `program supervise RUN_DIR`; as a rule `program` is the caller's own,
    /// from `std::env::current_exe()`.
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self { program }
    }
}

impl ComputeTarget for LocalTarget {
    fn name(&self) -> &str {
        "local"
    }

    fn start(&self, run: &RunDirectory) -> Result<ProcessIdentity, TargetError> {
        todo!("{run:?} {:?}", self.program)
    }

    fn probe(&self, run: &RunDirectory) -> Result<SupervisorState, TargetError> {
        todo!("{run:?}")
    }

    fn wait(&self, run: &RunDirectory, limit: Duration) -> Result<SupervisorState, TargetError> {
        todo!("{run:?} {limit:?}")
    }

    fn cancel(&self, run: &RunDirectory, request: &CancelRequest) -> Result<(), TargetError> {
        Ok(request.write(run)?)
    }

    fn settle(&self, run: &RunDirectory) -> Result<ExitRecord, TargetError> {
        todo!("{run:?}")
    }
}
