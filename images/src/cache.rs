//! Built environments by key: found, built once, listed, removed.
//!
//! ```text
//! <key>-<nonce>/         venv/ and requirements/: built here and never moved, as scripts in a
//!                        virtual environment hold its path
//! <key>-<nonce>.log      what the build said, byte for byte
//! <key>.json             the record; writing it makes the environment exist
//! <key>.lease            locked, shared, by runs that use it; its time is that of the last use
//! <key>.lock             locked by whoever builds or removes it
//! <key>.building.json    the build under way, for those who wait and for clearing up after a crash
//! <key>.failed.json      the last build, if it failed
//! interpreters/          what interpreters said of themselves
//! tools/                 where uv is looked for after PATH
//! ```

mod build;
mod error;
mod leftover_processes;
mod lock;
mod prepared;
mod record;
mod sweep;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};
use std::{fs, thread};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use snapshots::path_error::IoContext;

pub use self::error::EnvironmentError;
use self::lock::Locked;
use self::record::{Names, Record};
use crate::builder::IndexSettings;
use crate::environment::{Environment, PreparedEnvironment, RequirementsFile};
use crate::host::HostVariables;
use crate::interpreter::{self, InterpreterFacts};
use crate::key::{self, EnvironmentKey};

/// The environments that were built on this machine. Cheap to clone; several processes may have
/// the same directory open.
#[derive(Clone, Debug)]
pub struct EnvironmentCache {
    directory: PathBuf,
    host: Arc<HostVariables>,
}

/// What a cache is opened with.
#[derive(Clone, Default)]
pub struct CacheOptions {
    /// The variables of whoever builds.
    pub host: HostVariables,
    /// Where the contexts of Dockerfiles are; without it none can be built.
    pub objects: Option<snapshots::store::local::LocalStore>,
    /// What builds may have of this machine.
    pub settings: crate::builder::BuildSettings,
    /// The state directory, as a label on what is made in an engine.
    pub home: String,
}

/// An environment that is wanted.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// What it is made of.
    pub environment: &'a Environment,
    /// Whether what is there already does not count: names are looked up and dependencies resolved
    /// again.
    pub fresh: bool,
    /// The password for the registry that its image is pulled from.
    pub registry_password: Option<&'a secrecy::SecretString>,
}

impl<'a> From<&'a Environment> for Wanted<'a> {
    fn from(environment: &'a Environment) -> Self {
        Self { environment, fresh: false, registry_password: None }
    }
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
    _lock: Locked,
}

impl EnvironmentCache {
    /// Opens the cache in `directory` and creates it if need be. Builds see a documented part of
    /// `host`'s variables.
    ///
    /// # Errors
    ///
    /// The directory cannot be created.
    pub fn open(directory: &Path, options: CacheOptions) -> Result<Self, EnvironmentError> {
        let host = options.host;
        fs::create_dir_all(directory).context("create", directory)?;
        // Scripts in virtual environments hold this path.
        let directory = directory.canonicalize().context("resolve", directory)?;
        Ok(Self { directory, host: Arc::new(host) })
    }

    /// Returns where the cache is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the environment, after building it if nobody did.
    ///
    /// A build's output goes to `log` as it comes, both streams, byte for byte; that of a build
    /// which another thread or process is busy with, too. Setting `cancel` ends the wait, or the
    /// build with all its processes; those who waited for that build then start another.
    ///
    /// # Errors
    ///
    /// [`EnvironmentError`] says why there is no such environment.
    pub fn prepare<'a>(
        &self,
        wanted: impl Into<Wanted<'a>>,
        log: &mut dyn FnMut(&[u8]),
        cancel: &AtomicBool,
    ) -> Result<PreparedEnvironment, EnvironmentError> {
        self.prepare_leased(wanted, log, cancel).map(|(prepared, _)| prepared)
    }

    /// As [`prepare`](Self::prepare), with a lease on what was built: at no moment between the two
    /// can it be removed. An environment that the user looks after has none.
    ///
    /// # Errors
    ///
    /// As [`prepare`](Self::prepare).
    pub fn prepare_leased<'a>(
        &self,
        wanted: impl Into<Wanted<'a>>,
        log: &mut dyn FnMut(&[u8]),
        cancel: &AtomicBool,
    ) -> Result<(PreparedEnvironment, Option<EnvironmentLease>), EnvironmentError> {
        let Wanted { environment, .. } = wanted.into();
        let asked = self.ask(environment)?;
        let (Some(key), Environment::Requirements { files, .. }) = (asked.key, environment) else {
            return Ok((prepared::user_managed(asked.base), None));
        };
        let (leased, reused) = match self.leased(&key)? {
            Some(leased) => (leased, true),
            None => {
                let job = build::Job { key, base: &asked.base, files, settings: &asked.settings };
                build::build_once(self, &job, log, cancel)?
            }
        };
        self.touch(&key);
        let prepared = prepared::built(&self.directory, leased.record, reused);
        Ok((prepared, Some(leased.lease)))
    }

    /// Returns the environment if it can be used without building.
    ///
    /// # Errors
    ///
    /// The interpreter or the definition is not usable, or the cache cannot be read.
    pub fn find(
        &self,
        environment: &Environment,
    ) -> Result<Option<PreparedEnvironment>, EnvironmentError> {
        let asked = self.ask(environment)?;
        let Some(key) = asked.key else { return Ok(Some(prepared::user_managed(asked.base))) };
        Ok(self.usable(&key)?.map(|record| prepared::built(&self.directory, record, true)))
    }

    /// Keeps the environment `key` from being removed until the lease is dropped.
    ///
    /// For runs that are still there when an agent starts; before a run,
    /// [`prepare_leased`](Self::prepare_leased).
    ///
    /// # Errors
    ///
    /// [`EnvironmentError::NotFound`]: it has been removed meanwhile; prepare it again.
    pub fn lease(&self, key: &EnvironmentKey) -> Result<EnvironmentLease, EnvironmentError> {
        let gone = || EnvironmentError::NotFound { prefix: key.to_string() };
        let lease = self.try_lease(key)?.ok_or_else(gone)?;
        // Whoever removes it holds the lease alone and removes the record first.
        self.record(key)?.ok_or_else(gone)?;
        Ok(lease)
    }

    /// Lists what was built, the most recently used first.
    ///
    /// # Errors
    ///
    /// The cache cannot be read.
    pub fn list(&self) -> Result<Vec<EnvironmentEntry>, EnvironmentError> {
        let mut entries = Vec::new();
        for key in self.keys()? {
            // It may have been removed since.
            if let Some(record) = self.record(&key)? {
                entries.push(self.entry(&record)?);
            }
        }
        entries.sort_by(|a, b| (b.last_used_time_utc, &a.key).cmp(&(a.last_used_time_utc, &b.key)));
        Ok(entries)
    }

    /// Returns all that is known of the one environment whose key starts with `prefix`.
    ///
    /// # Errors
    ///
    /// None or several have such a key, or the cache cannot be read.
    pub fn show(&self, prefix: &str) -> Result<EnvironmentDetails, EnvironmentError> {
        let record = self.by_prefix(prefix)?;
        Ok(EnvironmentDetails {
            entry: self.entry(&record)?,
            packages: record.packages,
            base: record.base,
            files: record.files,
        })
    }

    /// Removes the one environment whose key starts with `prefix`.
    ///
    /// # Errors
    ///
    /// None or several have such a key, a run uses it, or it cannot be removed.
    pub fn remove(&self, prefix: &str) -> Result<EnvironmentEntry, EnvironmentError> {
        let record = self.by_prefix(prefix)?;
        let entry = self.entry(&record)?;
        let names = self.names(&record.key);
        let in_use = || EnvironmentError::InUse { key: record.key.short() };
        let _lock = lock::try_lock(&names.lock())?.ok_or_else(in_use)?;
        let _lease = self.lease_alone(&names)?.ok_or_else(in_use)?;
        // Without its record it does not exist: what a crash leaves from here on is swept.
        record::remove_file(&names.record())?;
        record::sync_directory(&self.directory)?;
        record::remove_directory(&self.directory.join(&record.directory))?;
        record::remove_file(&record::log_file(&self.directory, &record.directory))?;
        record::remove_file(&names.failure())?;
        record::remove_file(&names.lease())?;
        record::remove_file(&names.lock())?;
        Ok(entry)
    }

    /// Removes what crashed builds left behind, and ends their processes. Returns how many
    /// directories that were. To be called when the agent starts.
    ///
    /// # Errors
    ///
    /// The cache cannot be read or something in it cannot be removed.
    pub fn sweep(&self) -> Result<u64, EnvironmentError> {
        Ok(sweep::all(&self.directory)?)
    }

    fn host(&self) -> &HostVariables {
        &self.host
    }

    fn names<'a>(&'a self, key: &'a EnvironmentKey) -> Names<'a> {
        Names { cache: &self.directory, key }
    }

    /// Finds out what the environment's key is.
    fn ask(&self, environment: &Environment) -> Result<Asked, EnvironmentError> {
        let interpreters = self.directory.join("interpreters");
        let base = interpreter::describe_cached(
            environment.interpreter().unwrap_or_else(|| todo!()),
            &interpreters,
        )?;
        let settings = IndexSettings::read(&self.host);
        let key = key::key(environment, &base, settings.digest(), &self.host)?;
        Ok(Asked { base, settings, key })
    }

    fn record(&self, key: &EnvironmentKey) -> Result<Option<Record>, EnvironmentError> {
        let path = self.names(key).record();
        let Some(value) = record::read::<serde_json::Value>(&path)? else { return Ok(None) };
        if value["version"].as_u64().is_some_and(|version| version > u64::from(record::VERSION)) {
            return Err(EnvironmentError::Newer { path });
        }
        Ok(serde_json::from_value(value).ok().filter(|record: &Record| record.key == *key))
    }

    /// Returns the record of an environment whose interpreter is there, and its base too.
    fn usable(&self, key: &EnvironmentKey) -> Result<Option<Record>, EnvironmentError> {
        let record = self.record(key)?;
        Ok(record.filter(|record| record.facts.executable.is_file()))
    }

    /// Returns the environment if it can be used, kept from being removed since before the look.
    fn leased(&self, key: &EnvironmentKey) -> Result<Option<Leased>, EnvironmentError> {
        let Some(lease) = self.try_lease(key)? else { return Ok(None) };
        Ok(self.usable(key)?.map(|record| Leased { record, lease }))
    }

    fn try_lease(
        &self,
        key: &EnvironmentKey,
    ) -> Result<Option<EnvironmentLease>, EnvironmentError> {
        let lock = lock::lock_shared(&self.names(key).lease())?;
        Ok(lock.map(|lock| EnvironmentLease { _lock: lock }))
    }

    fn touch(&self, key: &EnvironmentKey) {
        let path = self.names(key).lease();
        let touched = fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            tracing::warn!(path = %path.display(), %error, "Could not note the use of an environment.");
        }
    }

    fn keys(&self) -> Result<Vec<EnvironmentKey>, EnvironmentError> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.directory).context("read", &self.directory)? {
            let name = entry.context("read", &self.directory)?.file_name();
            let key = name.to_str().and_then(|name| name.strip_suffix(".json"));
            keys.extend(key.and_then(|key| key.parse::<EnvironmentKey>().ok()));
        }
        keys.sort_unstable();
        Ok(keys)
    }

    fn by_prefix(&self, prefix: &str) -> Result<Record, EnvironmentError> {
        let not_found = || EnvironmentError::NotFound { prefix: prefix.to_owned() };
        let mut keys = self.keys()?;
        keys.retain(|key| !prefix.is_empty() && key.to_string().starts_with(prefix));
        match keys.as_slice() {
            [] => Err(not_found()),
            [key] => self.record(key)?.ok_or_else(not_found),
            several => Err(EnvironmentError::Ambiguous {
                prefix: prefix.to_owned(),
                candidates: several.iter().map(EnvironmentKey::short).collect(),
            }),
        }
    }

    fn entry(&self, record: &Record) -> Result<EnvironmentEntry, EnvironmentError> {
        let names = self.names(&record.key);
        let used = fs::metadata(names.lease()).and_then(|data| data.modified()).ok();
        let used = used.and_then(|time| Timestamp::try_from(time).ok());
        Ok(EnvironmentEntry {
            key: record.key,
            kind: record.kind.clone(),
            definition: record.definition.clone(),
            python_version: record.facts.version.clone(),
            bytes: record.bytes,
            created_time_utc: record.created_time_utc,
            last_used_time_utc: used.unwrap_or(record.created_time_utc),
            in_use: lock::try_lock(&names.lease())?.is_none(),
            path: self.directory.join(&record.directory),
            log: record::log_file(&self.directory, &record.directory),
            built_by: record.built_by.clone(),
        })
    }

    /// Takes the lease alone. A list holds it for a moment to see whether it can: that is no use.
    fn lease_alone(&self, names: &Names<'_>) -> Result<Option<Locked>, EnvironmentError> {
        for _ in 0..10 {
            if let Some(lease) = lock::try_lock(&names.lease())? {
                return Ok(Some(lease));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(None)
    }
}

/// A built environment that cannot be removed.
struct Leased {
    record: Record,
    lease: EnvironmentLease,
}

/// What is known of an environment before it is looked for.
struct Asked {
    base: InterpreterFacts,
    settings: IndexSettings,
    key: Option<EnvironmentKey>,
}

#[cfg(test)]
mod tests;
