//! Draining: nothing that waits is started, what is on goes on.
//!
//! A file in the state directory says so. Whoever takes a machine out of service upgrades and
//! restarts things; an agent that comes back drains until somebody says otherwise.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use runner::durable_file;
use serde::{Deserialize, Serialize};
use snapshots::path_error::{IoContext, PathError};
use utoipa::ToSchema;

/// That the agent drains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Draining {
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) since_time_utc: Timestamp,
    /// Who asked for it.
    pub(crate) asked_by_uid: u32,
}

/// Whether the agent drains, here and on the disk.
#[derive(Debug)]
pub(crate) struct Drain {
    file: PathBuf,
    now: Mutex<Option<Draining>>,
}

impl Drain {
    /// Reads what an earlier agent left in `file`.
    ///
    /// # Errors
    ///
    /// It cannot be read or understood.
    pub(crate) fn load(file: PathBuf) -> Result<Self, PathError> {
        let now = durable_file::read_json(&file)?;
        Ok(Self { file, now: Mutex::new(now) })
    }

    /// Says whether the agent drains.
    pub(crate) fn now(&self) -> Option<Draining> {
        self.lock().clone()
    }

    /// Begins to drain. Who asked first is kept.
    ///
    /// # Errors
    ///
    /// It cannot be written; nothing changed.
    pub(crate) fn begin(&self, uid: u32) -> Result<(), PathError> {
        let mut now = self.lock();
        if now.is_none() {
            let draining = Draining { since_time_utc: Timestamp::now(), asked_by_uid: uid };
            durable_file::write_json(&self.file, &draining)?;
            *now = Some(draining);
        }
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// The file cannot be removed; nothing changed.
    pub(crate) fn end(&self) -> Result<(), PathError> {
        let mut now = self.lock();
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.context("remove", &self.file)?,
        }
        durable_file::sync_directory(self.file.parent().unwrap_or_else(|| Path::new("/")))?;
        *now = None;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Draining>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_remembered_until_it_is_undone() {
        let home = tempfile::tempdir().unwrap();
        let load = || Drain::load(home.path().join("draining")).unwrap();
        let drain = load();
        assert_eq!(drain.now(), None);

        drain.begin(7).unwrap();
        drain.begin(8).unwrap();

        let draining = drain.now().unwrap();
        assert_eq!(draining.asked_by_uid, 7);
        assert_eq!(load().now(), Some(draining));
        drain.end().unwrap();
        drain.end().unwrap();
        assert_eq!((drain.now(), load().now()), (None, None));
    }

    #[test]
    fn what_cannot_be_kept_is_not_begun() {
        let home = tempfile::tempdir().unwrap();
        let drain = Drain::load(home.path().join("gone/draining")).unwrap();

        drain.begin(7).unwrap_err();

        assert_eq!(drain.now(), None);
        let damaged = home.path().join("draining");
        std::fs::write(&damaged, "{").unwrap();
        let error = Drain::load(damaged).unwrap_err();
        assert!(error.to_string().contains("draining"), "{error}");
    }
}
