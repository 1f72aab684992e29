//! The border to the machines: how they are reached, and what more than runs is asked of them.

use std::sync::Arc;

use runner::compute_target::ssh::{FirstContact, HomeSide, SshTarget, SshTargetSpec};
use runner::compute_target::{ComputeTarget, TargetError};
use runner::remote::message::{Cleaned, Cleaning, Purged};
use runner::remote::report::MachineReport;
use runner::ssh::{Credential, Endpoint, HostKey, Patience, SshConnection};
use snapshots::digest::Digest;
use snapshots::store::local::LocalStore;
use snapshots::transfer::Sent;

/// An attached machine.
pub(crate) trait Machine: ComputeTarget {
    /// Asks what the machine is and has. Tries to connect whatever was met with before.
    ///
    /// # Errors
    ///
    /// It cannot be asked.
    fn report(&self) -> Result<MachineReport, TargetError>;

    /// Removes what nobody needs.
    ///
    /// # Errors
    ///
    /// What went wrong there, or on the way.
    fn clean(&self, wanted: Cleaning) -> Result<Cleaned, TargetError>;

    /// Sends a snapshot of `objects` there.
    ///
    /// # Errors
    ///
    /// What went wrong there, or on the way.
    fn send(&self, objects: &LocalStore, id: &Digest) -> Result<Sent, TargetError>;

    /// Removes all of ours from the machine.
    ///
    /// # Errors
    ///
    /// What went wrong there, or on the way.
    fn purge(&self) -> Result<Purged, TargetError>;
}

impl Machine for SshTarget {
    fn report(&self) -> Result<MachineReport, TargetError> {
        SshTarget::report(self)
    }

    fn clean(&self, wanted: Cleaning) -> Result<Cleaned, TargetError> {
        SshTarget::clean(self, wanted)
    }

    fn send(&self, objects: &LocalStore, id: &Digest) -> Result<Sent, TargetError> {
        SshTarget::send(self, objects, id)
    }

    fn purge(&self) -> Result<Purged, TargetError> {
        SshTarget::purge(self)
    }
}

/// How machines are reached. All but [`machine`](Self::machine) block.
pub(crate) trait Reach: Send + Sync {
    /// Connects for the first time.
    ///
    /// # Errors
    ///
    /// The way there is closed, or the machine will not do.
    fn first_contact(
        &self,
        endpoint: &Endpoint,
        allow_unsupported: bool,
    ) -> Result<FirstContact, TargetError>;

    /// Asks a server for its host key, without logging in to it.
    ///
    /// # Errors
    ///
    /// It, or a machine on the way, cannot be reached.
    fn host_key(&self, endpoint: &Endpoint) -> Result<HostKey, TargetError>;

    /// Stands for a machine. Connects to nothing.
    fn machine(&self, spec: SshTargetSpec, credentials: Vec<Credential>) -> Arc<dyn Machine>;
}

/// Over SSH.
pub(crate) struct OverSsh {
    home: HomeSide,
}

impl OverSsh {
    /// `home` is what the machines need of this side.
    pub(crate) fn new(home: HomeSide) -> Self {
        Self { home }
    }
}

impl Reach for OverSsh {
    fn first_contact(
        &self,
        endpoint: &Endpoint,
        allow_unsupported: bool,
    ) -> Result<FirstContact, TargetError> {
        SshTarget::first_contact(endpoint, &self.home, allow_unsupported)
    }

    fn host_key(&self, endpoint: &Endpoint) -> Result<HostKey, TargetError> {
        Ok(SshConnection::host_key_of(endpoint, Patience::default())?)
    }

    fn machine(&self, spec: SshTargetSpec, credentials: Vec<Credential>) -> Arc<dyn Machine> {
        Arc::new(SshTarget::new(spec, credentials, self.home.clone()))
    }
}
