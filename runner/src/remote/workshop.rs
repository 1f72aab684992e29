//! What works on this machine, be it for a server or for a preparer.

use std::path::PathBuf;

use images::cache::{CacheOptions, EnvironmentCache};
use images::engine::EnginePlace;
use images::host::HostVariables;
use snapshots::store::local::LocalStore;

use super::files::RemoteHome;
use super::message::Refusal;
use crate::compute_target::local::LocalTarget;
use crate::compute_target::supervisors::Supervisors;

/// The store, the environments and the target in a [`RemoteHome`].
pub(super) struct Workshop {
    pub(super) objects: LocalStore,
    pub(super) environments: EnvironmentCache,
    pub(super) target: LocalTarget,
}

impl Workshop {
    /// Opens all of them, and makes what is not there yet. `program` is this program. Builds and
    /// engines are found as by whoever logs in.
    pub(super) fn open(home: &RemoteHome, program: PathBuf) -> Result<Self, Refusal> {
        home.create()?;
        let host = EnginePlace::pinned(&HostVariables::new(std::env::vars_os()));
        let objects = LocalStore::open(&home.store())?;
        let label = home.path().canonicalize().unwrap_or_else(|_| home.path().to_owned());
        let environments = EnvironmentCache::open(
            &home.environments(),
            CacheOptions {
                host: host.clone(),
                settings: Default::default(),
                home: label.to_string_lossy().into_owned(),
            },
        )?;
        let supervisors = Supervisors::new(program).with_engine(host);
        let target = LocalTarget::new(label, supervisors, environments.clone());
        Ok(Self { objects, environments, target })
    }
}
