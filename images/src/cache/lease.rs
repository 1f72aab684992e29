//! Leases: what keeps a build from being removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use snapshots::path_error::PathError;

use super::asked::{Asked, Base};
use super::lock::{self, Locked};
use super::record::{self, Record};
use super::{EnvironmentCache, EnvironmentError};
use crate::builder;
use crate::environment::PreparedEnvironment;
use crate::key::EnvironmentKey;

/// Keeps an environment from being removed, as long as it lives.
#[derive(Debug)]
#[must_use = "dropping a lease allows the environment to be removed"]
pub struct EnvironmentLease {
    path: PathBuf,
    _lock: Locked,
}

/// A built environment that cannot be removed.
pub(super) struct Leased {
    pub(super) record: Record,
    pub(super) lease: EnvironmentLease,
}

impl EnvironmentLease {
    /// Notes that the environment is used now.
    pub(super) fn touch(&self) {
        let touched = fs::File::options()
            .write(true)
            .open(&self.path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            tracing::warn!(path = %self.path.display(), %error, "Could not note the use of an environment.");
        }
    }
}

impl EnvironmentCache {
    /// Keeps the environment `key` from being removed until the lease is dropped.
    ///
    /// Before a run, [`prepare_leased`](Self::prepare_leased); for one that is there already,
    /// [`lease_prepared`](Self::lease_prepared).
    ///
    /// # Errors
    ///
    /// [`EnvironmentError::NotFound`]: it has been removed meanwhile; prepare it again.
    pub fn lease(&self, key: &EnvironmentKey) -> Result<EnvironmentLease, EnvironmentError> {
        let gone = || EnvironmentError::NotFound { prefix: key.to_string() };
        let leased = self.lease_if(key, |_| Ok(true))?;
        leased.map(|leased| leased.lease).ok_or_else(gone)
    }

    /// Keeps the very build that was prepared for a run from being removed, also when a fresh one
    /// has taken its place meanwhile. `None` for an environment of which nothing is built.
    ///
    /// For runs that are still there when an agent starts.
    ///
    /// # Errors
    ///
    /// As [`lease`](Self::lease).
    pub fn lease_prepared(
        &self,
        prepared: &PreparedEnvironment,
    ) -> Result<Option<EnvironmentLease>, EnvironmentError> {
        let Some(key) = &prepared.key else { return Ok(None) };
        let gone = || EnvironmentError::NotFound { prefix: key.to_string() };
        let names = self.names(key);
        for build in names.builds()? {
            let made = record::read::<Record>(&record::within(&self.directory, &build))?;
            let is_it = match (&prepared.image, made.and_then(|made| made.image)) {
                (Some(image), Some(made)) => image.id == made.image.id,
                (Some(_), None) => false,
                (None, _) => prepared.prefix.starts_with(self.directory.join(&build)),
            };
            if is_it {
                return Ok(Some(self.lease_build(key, &build)?.ok_or_else(gone)?));
            }
        }
        Err(gone())
    }

    /// Returns the record of an environment that is there, and not only on paper.
    pub(super) fn usable(
        &self,
        key: &EnvironmentKey,
        asked: &Asked,
    ) -> Result<Option<Record>, EnvironmentError> {
        let Some(record) = self.record(key)? else { return Ok(None) };
        Ok(self.is_there(&record, asked)?.then_some(record))
    }

    /// Returns the environment if it can be used, kept from being removed since before the look.
    pub(super) fn leased(
        &self,
        key: &EnvironmentKey,
        asked: &Asked,
    ) -> Result<Option<Leased>, EnvironmentError> {
        self.lease_if(key, |record| self.is_there(record, asked))
    }

    fn lease_if(
        &self,
        key: &EnvironmentKey,
        is_there: impl Fn(&Record) -> Result<bool, EnvironmentError>,
    ) -> Result<Option<Leased>, EnvironmentError> {
        let mut seen = None;
        loop {
            let Some(record) = self.record(key)? else { return Ok(None) };
            let lease = self.lease_build(key, &record.directory)?;
            // Whoever removes it holds the lease alone and removes the record first; whoever
            // replaces it writes the record first.
            let now = self.record(key)?;
            if now.is_some_and(|now| now.directory == record.directory) {
                if let Some(lease) = lease {
                    return Ok(is_there(&record)?.then_some(Leased { record, lease }));
                }
                // Twice the same build and no lease: somebody has removed the file.
                if seen.as_ref() == Some(&record.directory) {
                    return Ok(None);
                }
            }
            seen = Some(record.directory);
        }
    }

    fn is_there(&self, record: &Record, asked: &Asked) -> Result<bool, EnvironmentError> {
        Ok(match (&record.image, &record.facts, &asked.base) {
            (Some(built), _, Base::Images { engine, .. }) => {
                engine.image(&built.image.id)?.is_some()
            }
            (Some(_), ..) => false,
            (None, Some(facts), _) => facts.executable.is_file(),
            (None, None, _) => {
                builder::conda::prefix(&self.directory.join(&record.directory)).is_dir()
            }
        })
    }

    fn lease_build(
        &self,
        key: &EnvironmentKey,
        build: &str,
    ) -> Result<Option<EnvironmentLease>, EnvironmentError> {
        let path = self.names(key).lease(build);
        let lock = lock::lock_shared(&path)?;
        Ok(lock.map(|lock| EnvironmentLease { path, _lock: lock }))
    }
}

/// Takes a lease alone. A list holds it for a moment to see whether it can: that is no use.
pub(super) fn alone(path: &Path) -> Result<Option<Locked>, PathError> {
    for _ in 0..10 {
        if let Some(lease) = lock::try_lock(path)? {
            return Ok(Some(lease));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(None)
}
