//! Removing environments, and what crashes left of them.

use super::record::{self, Record};
use super::{EnvironmentCache, EnvironmentEntry, EnvironmentError, lease, lock, sweep};
use crate::builder::docker;
use crate::engine::{EngineError, LABEL};

impl EnvironmentCache {
    /// Removes the one environment whose key starts with `prefix`, and its image.
    ///
    /// # Errors
    ///
    /// None or several have such a key, a run uses it, or it cannot be removed.
    pub fn remove(&self, prefix: &str) -> Result<EnvironmentEntry, EnvironmentError> {
        let record = self.by_prefix(prefix)?;
        self.remove_record(&record)
    }

    /// Removes the environment of which that is the record.
    pub(super) fn remove_record(
        &self,
        record: &Record,
    ) -> Result<EnvironmentEntry, EnvironmentError> {
        let entry = self.entry(record)?;
        let names = self.names(&record.key);
        let in_use = || EnvironmentError::InUse { key: record.key.short() };
        let _lock = lock::try_lock(&names.lock())?.ok_or_else(in_use)?;
        let lease_path = names.lease(&record.directory);
        let _lease = lease::alone(&lease_path)?.ok_or_else(in_use)?;
        // A record without its image does not count, so the image may go first.
        if let Some(id) = sweep::own_image(&names, &record.directory)? {
            self.remove_image(&id)?;
        }
        // Without its record it does not exist: what a crash leaves from here on is swept.
        record::remove_file(&names.record())?;
        record::sync_directory(&self.directory)?;
        record::remove_directory(&self.directory.join(&record.directory))?;
        record::remove_file(&record::log_file(&self.directory, &record.directory))?;
        record::remove_file(&names.failure())?;
        record::remove_file(&lease_path)?;
        if names.builds()?.is_empty() {
            record::remove_file(&names.lock())?;
        }
        Ok(entry)
    }

    /// Removes what crashed builds and replaced ones left behind, and ends their processes. Returns
    /// how many directories that were. To be called when the agent starts.
    ///
    /// # Errors
    ///
    /// The cache cannot be read or something in it cannot be removed.
    pub fn sweep(&self) -> Result<u64, EnvironmentError> {
        Ok(sweep::all(&self.directory, &self.leftovers())?)
    }

    /// Returns who removes leftovers that are in an engine.
    pub(super) fn leftovers(&self) -> impl sweep::Images + '_ {
        EngineImages { cache: self }
    }

    fn remove_image(&self, id: &str) -> Result<(), EnvironmentError> {
        self.connection.with(self.host(), |engine| Ok(engine.remove_image(id)?))
    }
}

/// The images of an engine, which is connected to only if there is something to remove.
struct EngineImages<'a> {
    cache: &'a EnvironmentCache,
}

impl sweep::Images for EngineImages<'_> {
    fn remove(&self, id: &str) -> bool {
        told(self.cache.remove_image(id))
    }

    fn remove_all_but(&self, key: &crate::key::EnvironmentKey, keep: &[String]) -> bool {
        let home = &self.cache.options.home;
        told(self.cache.connection.with(self.cache.host(), |engine| {
            let base = docker::base_name(key, home);
            // Somebody's own image that has no other name stays.
            if let Some(image) = engine.image(&base)?
                && (image.tags.len() > 1 || image.labels.contains_key(LABEL))
            {
                engine.remove_image(&base)?;
            }
            let key = key.to_string();
            for image in engine.our_images(home)? {
                let is_its = image.labels.get(crate::engine::KEY_LABEL) == Some(&key);
                if is_its && !keep.contains(&image.id) {
                    engine.remove_image(&image.id)?;
                }
            }
            Ok(())
        }))
    }
}

/// Whether it worked; if not, it is told and left for the next sweep.
fn told(result: Result<(), EnvironmentError>) -> bool {
    match result {
        Ok(()) => true,
        // Without an engine there are no images either, as far as anyone can tell.
        Err(EnvironmentError::Engine(EngineError::NotFound { .. })) => false,
        Err(error) => {
            tracing::warn!(%error, "Left an image to be swept.");
            false
        }
    }
}
