//! The compute targets that this agent knows: this machine, and those that were attached.
//!
//! ```text
//! targets/NAME.json        where it is and who, its host key
//! credentials/NAME.json    how to log in; systemd's credentials take their place
//! ```

mod absent;
mod access;
mod attached;
mod attaching;
mod credentials;
mod error;
mod host_keys;
mod name;
mod reach;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jiff::Timestamp;
use runner::compute_target::{ComputeTarget, OutOfContact};
use runner::durable_file;
use runner::remote::message::{Cleaned, Cleaning, Purged};
use runner::remote::report::MachineReport;
use snapshots::path_error::{IoContext, PathError};
use tracing::{info, warn};

use absent::Absent;
use attached::Now;
pub(crate) use attached::{Attached, Kept, LastCleaning, Size};
pub(crate) use attaching::{Asked, Hop};
use credentials::CredentialFiles;
pub(crate) use credentials::KeptCredential;
pub(crate) use error::RegistryError;
pub(crate) use reach::{OverSsh, Reach};

use crate::peer::Peer;
use crate::queue::{self, Capacity};
use crate::workspace::Workspace;

/// What this machine is called as a target.
pub(crate) const LOCAL: &str = "local";

/// Where runs can be carried out, by name.
pub(crate) struct Targets {
    local: Arc<dyn ComputeTarget>,
    attached: RwLock<BTreeMap<String, Arc<Attached>>>,
    directory: PathBuf,
    credentials: CredentialFiles,
    reach: Box<dyn Reach>,
    /// Held while targets come, change or go.
    changing: Mutex<()>,
}

/// What came of looking at a machine.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    /// What it is and has.
    pub(crate) report: MachineReport,
    /// How far its clock is ahead of ours, in seconds, as far as it is known.
    pub(crate) clock_ahead_seconds: Option<f64>,
}

impl Targets {
    /// Knows this machine and those that were attached in `workspace`. Connects to nothing.
    ///
    /// # Errors
    ///
    /// What is kept of a target cannot be read. An agent that went on without it would take the
    /// runs on it for lost.
    pub(crate) fn load(
        local: Arc<dyn ComputeTarget>,
        workspace: &Workspace,
        systemd: Option<PathBuf>,
        reach: Box<dyn Reach>,
    ) -> Result<Self, PathError> {
        let targets = Self {
            local,
            attached: RwLock::default(),
            directory: workspace.targets(),
            credentials: CredentialFiles::new(workspace.credentials(), systemd),
            reach,
            changing: Mutex::default(),
        };
        for kept in targets.read_kept()? {
            let name = kept.spec.name.clone();
            let (credentials, of_systemd) = targets.credentials.read(&name)?;
            if credentials.is_empty() {
                warn!(target = name, "Nothing is kept that an attached machine would let in.");
            }
            targets.put(kept, &credentials, of_systemd);
        }
        targets.credentials.keep_only(&targets.names_attached())?;
        Ok(targets)
    }

    fn read_kept(&self) -> Result<Vec<Kept>, PathError> {
        let entries = match std::fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.context("read", &self.directory)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.context("read", &self.directory)?.path();
            // A crash may have left a temporary file.
            let is_ours = path.extension() == Some(OsStr::new("json"));
            if let Some(kept) = is_ours.then(|| durable_file::read_json(&path)).transpose()? {
                found.extend(kept);
            }
        }
        Ok(found)
    }

    /// Returns the target called `name`, if there is one.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<dyn ComputeTarget>> {
        if name == self.local.name() {
            return Some(Arc::clone(&self.local));
        }
        self.attached(name).map(|target| target as Arc<dyn ComputeTarget>)
    }

    /// Returns the target of a run that was accepted for `name`. One that is not attached any more
    /// knows nothing of it.
    pub(crate) fn of_run(&self, name: &str) -> Arc<dyn ComputeTarget> {
        self.find(name).unwrap_or_else(|| Arc::new(Absent::new(name)))
    }

    /// Returns the attached machine called `name`.
    pub(crate) fn attached(&self, name: &str) -> Option<Arc<Attached>> {
        self.map().read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn names_attached(&self) -> Vec<String> {
        self.map().read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Returns all attached machines.
    pub(crate) fn all_attached(&self) -> Vec<Arc<Attached>> {
        self.map().read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Returns what `name` has for runs, where this machine has `here`.
    pub(crate) fn capacity(&self, name: &str, here: &Capacity) -> Capacity {
        if name == self.local.name() {
            return here.clone();
        }
        let size = self.attached(name).map(|target| target.kept().size);
        let Size { cpus, memory_bytes, gpus } = size.unwrap_or_default();
        Capacity {
            places: queue::places_elsewhere(cpus),
            millicpus: cpus.filter(|cpus| *cpus > 0).map(|cpus| u64::from(cpus) * 1000),
            memory: memory_bytes,
            gpus,
            others_gpus: 0,
        }
    }

    /// Says since when the target called `name` cannot be reached.
    pub(crate) fn out_of_contact(&self, name: &str) -> Option<OutOfContact> {
        self.attached(name)?.out_of_contact()
    }

    /// Asks the attached machine `name` what it is and has, whatever was met with before. With
    /// `accept`, the fingerprint of a host key, that key is pinned first, if it is the one that the
    /// machine shows. Blocks.
    ///
    /// # Errors
    ///
    /// There is no such target, it shows another key, or it cannot be asked.
    pub(crate) fn check(
        &self,
        name: &str,
        accept: Option<&str>,
        peer: Peer,
    ) -> Result<Checked, RegistryError> {
        let target = self.changeable(name, peer, "check")?;
        if let Some(fingerprint) = accept {
            let _alone = self.change();
            self.accept_key(&target, fingerprint)?;
        }
        let before = Timestamp::now();
        let report = target.machine().report().map_err(RegistryError::of(name))?;
        let checked = Checked::new(report, before, Timestamp::now());
        let size = Size::of(&checked.report).filter(|size| *size != target.kept().size);
        if let Some(size) = size {
            let _alone = self.change();
            target.set_size(size);
            self.write(&target.kept())?;
        }
        Ok(checked)
    }

    /// Removes from an attached machine what nobody needs. Blocks.
    ///
    /// # Errors
    ///
    /// It cannot be asked, or that it was cleaned cannot be written.
    pub(crate) fn clean(
        &self,
        target: &Arc<Attached>,
        wanted: Cleaning,
    ) -> Result<Cleaned, RegistryError> {
        let name = target.name();
        let dry_run = wanted.dry_run;
        let cleaned = target.machine().clean(wanted).map_err(RegistryError::of(name))?;
        if !dry_run {
            let _alone = self.change();
            target.set_cleaned(LastCleaning { time_utc: Timestamp::now(), cleaned });
            // It may have been detached meanwhile, and another attached under its name.
            if self.attached(name).is_some_and(|now| Arc::ptr_eq(&now, target)) {
                self.write(&target.kept())?;
            }
        }
        Ok(cleaned)
    }

    /// Forgets the attached machine `name`, and with `purge` first removes all of ours from it.
    /// That no run is on it is for the caller to see to. Blocks.
    ///
    /// # Errors
    ///
    /// There is none, or something cannot be removed; then it is still attached.
    pub(crate) fn detach(
        &self,
        name: &str,
        purge: bool,
        peer: Peer,
    ) -> Result<Option<Purged>, RegistryError> {
        let _alone = self.change();
        let target = self.changeable(name, peer, "detach")?;
        let purged = match purge {
            true => Some(target.machine().purge().map_err(RegistryError::of(name))?),
            false => None,
        };
        // In this order: what a crash leaves between the two is removed at the next start.
        credentials::remove(&self.path(name))?;
        self.credentials.remove(name)?;
        self.map().write().unwrap_or_else(PoisonError::into_inner).remove(name);
        info!(target = name, purge, "Detached a machine.");
        Ok(purged)
    }

    fn put(&self, kept: Kept, credentials: &[KeptCredential], of_systemd: bool) {
        let kinds = credentials.iter().map(|credential| match of_systemd {
            true => format!("{} (from systemd)", credential.kind()),
            false => credential.kind().to_owned(),
        });
        let credentials_for = credentials::to_ssh(credentials);
        let now = Now {
            machine: self.reach.machine(kept.spec.clone(), credentials_for),
            credentials: kinds.collect(),
            kept,
        };
        let name = now.kept.spec.name.clone();
        match self.attached(&name) {
            Some(target) => target.become_of(now),
            None => {
                let mut attached = self.map().write().unwrap_or_else(PoisonError::into_inner);
                attached.insert(name, Arc::new(Attached::new(now)));
            }
        }
    }

    fn write(&self, kept: &Kept) -> Result<(), PathError> {
        match std::fs::create_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.context("create", &self.directory)?,
        }
        durable_file::write_json(&self.path(&kept.spec.name), kept)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }

    fn map(&self) -> &RwLock<BTreeMap<String, Arc<Attached>>> {
        &self.attached
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Checked {
    /// Compares clocks: the machine looked at its own somewhere between `before` and `after`.
    fn new(report: MachineReport, before: Timestamp, after: Timestamp) -> Self {
        let ahead = report.time_utc.map(|there| {
            let (early, late) = (there.duration_since(after), there.duration_since(before));
            if early.is_positive() {
                early.as_secs_f64()
            } else if late.is_negative() {
                late.as_secs_f64()
            } else {
                0.0
            }
        });
        Self { report, clock_ahead_seconds: ahead }
    }
}

#[cfg(test)]
pub(crate) mod tests;
