//! Built environments by key: found, built once, listed, removed.
//!
//! ```text
//! <key>-<nonce>/         a build: venv/ and requirements/, or what else its kind needs. Never
//!                        moved, as scripts in a virtual environment hold its path
//!     record.json        what it is, also when another build has taken its place
//! <key>-<nonce>.log      what the build said, byte for byte
//! <key>-<nonce>.lease    locked, shared, by runs that use the build; its time is that of the last
//!                        use. Builds of older versions have <key>.lease in its place
//! <key>.json             the record; writing it makes the environment exist, or be another build
//! <key>.lock             locked by whoever builds or removes it
//! <key>.building.json    the build under way, for those who wait and for clearing up after a crash
//! <key>.failed.json      the last build, if it failed
//! interpreters/          what interpreters said of themselves
//! packages/              what is installed in images that were not built here
//! tools/                 where uv is looked for after PATH
//! ```
//!
//! A build that is made afresh gets a directory of its own, and then the record is replaced. Runs
//! that hold a lease on the build before keep it; it goes when the last of them has ended, with the
//! next build or sweep.

mod asked;
mod build;
mod cleanup;
mod connection;
mod entry;
mod error;
mod image_packages;
mod image_python;
mod lease;
mod leftover_processes;
mod lock;
mod prepared;
mod record;
mod removal;
mod subject;
mod sweep;
mod tools;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::{fmt, fs};

use serde::{Deserialize, Serialize};
use snapshots::path_error::IoContext;

use self::asked::Pulling;
pub use self::cleanup::{CleanupPlan, plan_cleanup};
pub use self::entry::{EnvironmentDetails, EnvironmentEntry};
pub use self::error::EnvironmentError;
pub use self::lease::EnvironmentLease;
use self::record::Names;
pub use self::tools::{Tool, ToolCleanup};
use crate::environment::{Environment, PreparedEnvironment};
use crate::host::HostVariables;
use crate::key::{EnvironmentKey, KeyParts};

/// The environments that were built on this machine. Cheap to clone; several processes may have
/// the same directory open.
#[derive(Clone)]
pub struct EnvironmentCache {
    directory: PathBuf,
    options: Arc<CacheOptions>,
    connection: Arc<connection::Connection>,
}

impl fmt::Debug for EnvironmentCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironmentCache")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// What a cache is opened with.
#[derive(Clone, Default)]
pub struct CacheOptions {
    /// The variables of whoever builds.
    pub host: HostVariables,
    /// What builds may have of this machine.
    pub settings: crate::builder::BuildSettings,
    /// The state directory, as a label on what is made in an engine.
    pub home: String,
}

/// An environment that is wanted.
#[derive(Clone)]
pub struct Wanted<'a> {
    /// What it is made of.
    pub environment: &'a Environment,
    /// Whether what is there already does not count: names are looked up and dependencies resolved
    /// again.
    pub fresh: bool,
    /// The password for the registry that its image is pulled from.
    pub registry_password: Option<&'a secrecy::SecretString>,
    /// Where the context of its Dockerfile is; without it none can be built.
    pub objects: Option<&'a snapshots::store::local::LocalStore>,
}

impl<'a> From<&'a Environment> for Wanted<'a> {
    fn from(environment: &'a Environment) -> Self {
        Self { environment, fresh: false, registry_password: None, objects: None }
    }
}

/// What an environment's key is made of, and whether it was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// The parts. `None`: it has no key. Nothing is built of it, or it is built on an image that is
    /// not here yet.
    pub parts: Option<KeyParts>,
    /// Whether it can be used without building or pulling.
    pub built: bool,
}

impl EnvironmentCache {
    /// Opens the cache in `directory` and creates it if need be. Builds see a documented part of
    /// the host's variables.
    ///
    /// # Errors
    ///
    /// The directory cannot be created.
    pub fn open(directory: &Path, options: CacheOptions) -> Result<Self, EnvironmentError> {
        fs::create_dir_all(directory).context("create", directory)?;
        // Scripts in virtual environments hold this path.
        let directory = directory.canonicalize().context("resolve", directory)?;
        Ok(Self { directory, options: Arc::new(options), connection: Arc::default() })
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
    /// can it be removed. An environment of which nothing is built has none.
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
        let wanted = wanted.into();
        let asked = self.ask(&wanted, Pulling { log, cancel })?;
        let Some(parts) = &asked.parts else {
            return Ok((self.unbuilt(wanted.environment, asked.base, true)?, None));
        };
        let before = self.record(&parts.key)?;
        let found = if wanted.fresh { None } else { self.leased(&parts.key, &asked)? };
        let (leased, reused) = match found {
            Some(leased) => (leased, true),
            None => {
                let environment = wanted.environment;
                let (not, previous) = match before {
                    Some(record) if wanted.fresh => (Some(record.directory), Vec::new()),
                    Some(record) => (None, record.lock),
                    None => (None, Vec::new()),
                };
                let fresh = wanted.fresh;
                let (asked, objects) = (&asked, wanted.objects);
                let job = build::Job { parts, environment, asked, fresh, not, previous, objects };
                build::build_once(self, &job, log, cancel)?
            }
        };
        leased.lease.touch();
        let prepared = prepared::built(&self.directory, leased.record, reused);
        Ok((prepared, Some(leased.lease)))
    }

    /// Returns the environment if it can be used without building or pulling anything.
    ///
    /// # Errors
    ///
    /// The interpreter or the definition is not usable, or the cache cannot be read.
    pub fn find(
        &self,
        environment: &Environment,
    ) -> Result<Option<PreparedEnvironment>, EnvironmentError> {
        let Some(asked) = self.ask_here(environment)? else { return Ok(None) };
        let Some(parts) = &asked.parts else {
            return self.unbuilt(environment, asked.base, false).map(Some);
        };
        let record = self.usable(&parts.key, &asked)?;
        Ok(record.map(|record| prepared::built(&self.directory, record, true)))
    }

    /// Returns what the key of `environment` is made of. Builds and pulls nothing.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub fn explain(&self, environment: &Environment) -> Result<Explained, EnvironmentError> {
        let Some(asked) = self.ask_here(environment)? else {
            return Ok(Explained { parts: None, built: false });
        };
        let built = match &asked.parts {
            None => true,
            Some(parts) => self.usable(&parts.key, &asked)?.is_some(),
        };
        Ok(Explained { parts: asked.parts, built })
    }

    /// Returns an environment of which nothing is built. `may_ask`: a container may be started to
    /// see what its image has.
    fn unbuilt(
        &self,
        environment: &Environment,
        base: asked::Base,
        may_ask: bool,
    ) -> Result<PreparedEnvironment, EnvironmentError> {
        let engine = match &base {
            asked::Base::Images { engine, .. } if may_ask => Some(Arc::clone(engine)),
            _ => None,
        };
        let mut prepared = prepared::unbuilt(environment, base);
        if let Environment::Docker { docker } = environment
            && docker.interpreter.is_none()
        {
            self.fill_in_python(&mut prepared, engine.as_deref())?;
        }
        Ok(prepared)
    }

    fn host(&self) -> &HostVariables {
        &self.options.host
    }

    fn names<'a>(&'a self, key: &'a EnvironmentKey) -> Names<'a> {
        Names { cache: &self.directory, key }
    }
}

#[cfg(test)]
mod tests;
