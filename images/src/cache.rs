//! Built environments by key: found, built once, listed, removed.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::environment::{Environment, PreparedEnvironment, RequirementsFile};
use crate::host::HostVariables;
use crate::interpreter::{InterpreterError, InterpreterFacts};
use crate::key::EnvironmentKey;

/// The environments that were built on this machine. Cheap to clone; several processes may have
/// the same directory open.
#[derive(Clone, Debug)]
pub struct EnvironmentCache {
    directory: PathBuf,
    host: HostVariables,
}

/// A built environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentEntry {
    /// What it is kept under.
    pub key: EnvironmentKey,
    /// What it was made from: `requirements`.
    pub kind: String,
    /// The name of the definition, as `requirements.txt`.
    pub definition: String,
    /// The version of its Python.
    pub python_version: String,
    /// Disk space it takes.
    pub bytes: u64,
    /// When it was finished.
    pub created_time_utc: Timestamp,
    /// When a run last asked for it.
    pub last_used_time_utc: Timestamp,
    /// Whether a run holds a lease on it now.
    pub in_use: bool,
    /// Its directory.
    pub path: PathBuf,
    /// The log of its build.
    pub log: PathBuf,
    /// What built it, with version: `uv 0.13.8` or `pip 24.0`.
    pub built_by: String,
}

/// A built environment with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentDetails {
    /// What a list shows.
    #[serde(flatten)]
    pub entry: EnvironmentEntry,
    /// What was installed when it was finished, as `pip freeze` says it: the lock.
    pub packages: Vec<String>,
    /// The interpreter it is based on.
    pub base: InterpreterFacts,
    /// The files it was made from.
    pub files: Vec<RequirementsFile>,
}

/// Keeps an environment from being removed, as long as it lives.
#[derive(Debug)]
#[must_use = "dropping a lease allows the environment to be removed"]
pub struct EnvironmentLease {
    _file: std::fs::File,
}

/// Why an environment cannot be had, shown or removed.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The interpreter is not usable.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// No environment has such a key.
    #[error("no environment has a key that starts with {prefix:?}")]
    NotFound {
        /// What was asked for.
        prefix: String,
    },
}

impl EnvironmentCache {
    /// Opens the cache in `directory` and creates it if need be. Builds see a documented part of
    /// `host`'s variables.
    ///
    /// # Errors
    ///
    /// The directory cannot be created.
    pub fn open(directory: &Path, host: HostVariables) -> Result<Self, EnvironmentError> {
        Ok(Self { directory: directory.to_owned(), host })
    }

    /// Returns where the cache is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the environment, after building it if nobody did.
    ///
    /// A build's output goes to `log` as it comes, both streams, byte for byte; that of a build
    /// which another thread or process is busy with, too. Setting `cancel` ends the wait and the
    /// build, with all its processes, unless others wait for it.
    ///
    /// # Errors
    ///
    /// [`EnvironmentError`] says why there is no such environment.
    pub fn prepare(
        &self,
        environment: &Environment,
        log: &mut dyn FnMut(&[u8]),
        cancel: &AtomicBool,
    ) -> Result<PreparedEnvironment, EnvironmentError> {
        let _ = (environment, log, cancel, &self.host);
        Err(InterpreterError::NoneFound.into())
    }

    /// Returns the environment if it can be used without building.
    ///
    /// # Errors
    ///
    /// The interpreter is not usable, or the cache cannot be read.
    pub fn find(
        &self,
        environment: &Environment,
    ) -> Result<Option<PreparedEnvironment>, EnvironmentError> {
        let _ = environment;
        Ok(None)
    }

    /// Keeps the environment `key` from being removed until the lease is dropped.
    ///
    /// # Errors
    ///
    /// [`EnvironmentError::NotFound`]: it has been removed meanwhile; prepare it again.
    pub fn lease(&self, key: &EnvironmentKey) -> Result<EnvironmentLease, EnvironmentError> {
        Err(EnvironmentError::NotFound { prefix: key.to_string() })
    }

    /// Lists what was built, the most recently used first.
    ///
    /// # Errors
    ///
    /// The cache cannot be read.
    pub fn list(&self) -> Result<Vec<EnvironmentEntry>, EnvironmentError> {
        Ok(Vec::new())
    }

    /// Returns all that is known of the one environment whose key starts with `prefix`.
    ///
    /// # Errors
    ///
    /// None or several have such a key, or the cache cannot be read.
    pub fn show(&self, prefix: &str) -> Result<EnvironmentDetails, EnvironmentError> {
        Err(EnvironmentError::NotFound { prefix: prefix.to_owned() })
    }

    /// Removes the one environment whose key starts with `prefix`.
    ///
    /// # Errors
    ///
    /// None or several have such a key, a run uses it, or it cannot be removed.
    pub fn remove(&self, prefix: &str) -> Result<EnvironmentEntry, EnvironmentError> {
        Err(EnvironmentError::NotFound { prefix: prefix.to_owned() })
    }

    /// Removes what crashed builds left behind, and ends their processes. Returns how many
    /// directories that were. To be called when the agent starts.
    ///
    /// # Errors
    ///
    /// The cache cannot be read or something in it cannot be removed.
    pub fn sweep(&self) -> Result<u64, EnvironmentError> {
        Ok(0)
    }
}
