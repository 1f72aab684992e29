//! A machine that is reached over SSH.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use images::cache::EnvironmentLease;
use images::environment::PreparedEnvironment;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use snapshots::digest::Digest;
use snapshots::store::local::LocalStore;

use super::{
    ComputeTarget, Needs, NotPrepared, OutOfContact, Place, Ready, SupervisorState, TargetError,
};
use crate::cancel_request::CancelRequest;
use crate::exit_record::ExitRecord;
use crate::outputs::Outputs;
use crate::remote::message::{Cleaned, Hello, Purged};
use crate::remote::report::MachineReport;
use crate::run_directory::RunDirectory;
use crate::ssh::{Credential, Endpoint, HostKey};

/// What is kept of an attached machine; its credentials are kept apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SshTargetSpec {
    /// The version of this record: 1.
    pub version: u32,
    /// What runs call it.
    pub name: String,
    /// A name or an address.
    pub host: String,
    /// 22 as a rule.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// The host key that was shown when it was attached.
    pub host_key: HostKey,
    /// The machines to go through, the nearest first.
    #[serde(default)]
    pub jumps: Vec<Jump>,
    /// [`Hello::machine`], when it was attached.
    pub machine: String,
    /// Whether it may be something else than Ubuntu.
    #[serde(default)]
    pub allow_unsupported: bool,
    /// When it was attached.
    pub attached_time_utc: Timestamp,
}

/// A machine on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Jump {
    /// A name or an address.
    pub host: String,
    /// 22 as a rule.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// Its host key.
    pub host_key: HostKey,
}

/// What a target needs of this side.
#[derive(Clone)]
pub struct HomeSide {
    /// This program, which is put on the machine.
    pub program: PathBuf,
    /// Where snapshots come from.
    pub objects: LocalStore,
    /// Whose runs they are: this machine and the agent's state directory.
    pub owner: String,
}

/// A machine that is reached over SSH.
pub struct SshTarget {
    name: String,
}

impl SshTarget {
    /// Stands for the machine of `spec`. Connects when something is asked of it.
    #[must_use]
    pub fn new(spec: SshTargetSpec, credentials: Vec<Credential>, home: HomeSide) -> Self {
        drop((credentials, home));
        Self { name: spec.name }
    }

    /// Connects for the first time: puts this program on the machine and asks who it is.
    ///
    /// # Errors
    ///
    /// [`TargetError::Ssh`], or why the machine will not do.
    pub fn first_contact(
        endpoint: &Endpoint,
        home: &HomeSide,
        allow_unsupported: bool,
    ) -> Result<FirstContact, TargetError> {
        todo!("{endpoint:?} {:?} {allow_unsupported}", home.program)
    }

    /// Asks what the machine is and has. Tries to connect whatever was met with before.
    ///
    /// # Errors
    ///
    /// [`TargetError::Ssh`].
    pub fn report(&self) -> Result<MachineReport, TargetError> {
        todo!()
    }

    /// Removes ended runs that nobody came back for, and what of objects and environments is over
    /// `max_bytes`.
    ///
    /// # Errors
    ///
    /// [`TargetError::Ssh`], or what went wrong there.
    pub fn clean(
        &self,
        runs_older: Duration,
        max_bytes: Option<u64>,
        dry_run: bool,
    ) -> Result<Cleaned, TargetError> {
        todo!("{runs_older:?} {max_bytes:?} {dry_run}")
    }

    /// Removes all of ours from the machine.
    ///
    /// # Errors
    ///
    /// [`TargetError::Ssh`], or what went wrong there.
    pub fn purge(&self) -> Result<Purged, TargetError> {
        todo!()
    }
}

/// What the first contact told.
#[derive(Clone, Debug)]
pub struct FirstContact {
    /// The host key that was shown.
    pub host_key: HostKey,
    /// The same of the machines on the way.
    pub jump_keys: Vec<HostKey>,
    /// Who answered.
    pub hello: Hello,
    /// What the machine is and has.
    pub report: MachineReport,
}

impl ComputeTarget for SshTarget {
    fn name(&self) -> &str {
        &self.name
    }

    fn place(&self) -> Result<Place, TargetError> {
        todo!()
    }

    fn prepare(&self, _: &RunDirectory, _: &Needs, _: &AtomicBool) -> Result<Ready, NotPrepared> {
        todo!()
    }

    fn lease(&self, _: &PreparedEnvironment) -> Result<Option<EnvironmentLease>, TargetError> {
        Ok(None)
    }

    fn gpus(&self, _: u32) -> Result<Vec<String>, TargetError> {
        todo!()
    }

    fn start(&self, _: &RunDirectory) -> Result<(), TargetError> {
        todo!()
    }

    fn probe(&self, _: &RunDirectory) -> Result<SupervisorState, TargetError> {
        todo!()
    }

    fn wait(&self, _: &RunDirectory, _: Duration) -> Result<SupervisorState, TargetError> {
        todo!()
    }

    fn cancel(&self, _: &RunDirectory, _: &CancelRequest) -> Result<(), TargetError> {
        todo!()
    }

    fn settle(&self, _: &RunDirectory) -> Result<ExitRecord, TargetError> {
        todo!()
    }

    fn collect(&self, _: &RunDirectory, _: &Digest) -> Result<Outputs, TargetError> {
        todo!()
    }

    fn packages(&self, _: &PreparedEnvironment) -> Result<Arc<[String]>, TargetError> {
        todo!()
    }

    fn release(&self, _: &RunDirectory) -> Result<(), TargetError> {
        todo!()
    }

    fn out_of_contact(&self) -> Option<OutOfContact> {
        None
    }
}
