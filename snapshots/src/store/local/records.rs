//! The records of snapshots: small JSON files, written like everything else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{LocalStore, durable};
use crate::digest::Digest;
use crate::path_error::IoContext;
use crate::snapshot::SnapshotRecord;
use crate::store::StoreError;

impl LocalStore {
    /// Stores a snapshot's record. A record of that id that is there already keeps its time, and
    /// is kept for good if either says so.
    ///
    /// # Errors
    ///
    /// [`StoreError::Path`]: the record could not be written.
    pub fn put_record(&self, record: &SnapshotRecord) -> Result<(), StoreError> {
        let _lease = self.lease()?;
        let mut record = record.clone();
        if let Some(first) = self.record(&record.id)? {
            record.created_time_utc = first.created_time_utc;
            record.kept |= first.kept;
        }
        let path = self.record_path(&record.id);
        let text = serde_json::to_vec_pretty(&record)
            .map_err(|source| StoreError::Record { path: path.clone(), source })?;
        Ok(durable::write(&self.inner.temporary, &path, &text)?)
    }

    /// Returns the record of a snapshot, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Record`]: it is not one this program can read.
    pub fn record(&self, id: &Digest) -> Result<Option<SnapshotRecord>, StoreError> {
        read(&self.record_path(id))
    }

    /// Returns all records, by id.
    ///
    /// # Errors
    ///
    /// [`StoreError::Record`]: one of them is not one this program can read.
    pub fn records(&self) -> Result<Vec<SnapshotRecord>, StoreError> {
        let mut records = Vec::new();
        let directory = self.inner.directory.join("snapshots");
        for entry in fs::read_dir(&directory).context("list", &directory)? {
            let path = entry.context("list", &directory)?.path();
            let id = path.file_stem().and_then(|stem| stem.to_str()).map(str::parse::<Digest>);
            if matches!(id, Some(Ok(_))) {
                records.extend(read(&path)?);
            }
        }
        records.sort_unstable_by_key(|record| record.id);
        Ok(records)
    }

    /// Removes a snapshot's record, not its objects; returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Path`]: it cannot be removed.
    pub fn remove_record(&self, id: &Digest) -> Result<bool, StoreError> {
        let path = self.record_path(id);
        match fs::remove_file(&path) {
            Ok(()) => {
                durable::sync_directory(path.parent().unwrap_or(&path))?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Ok(Err(error).context("remove", &path)?),
        }
    }

    pub(crate) fn record_path(&self, id: &Digest) -> PathBuf {
        self.inner.directory.join("snapshots").join(format!("{id}.json"))
    }
}

fn read(path: &Path) -> Result<Option<SnapshotRecord>, StoreError> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| StoreError::Record { path: path.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Ok(Err(error).context("read", path)?),
    }
}
