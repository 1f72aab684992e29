//! The objects that were found damaged, remembered until their content is stored again.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use super::generation;
use crate::digest::Digest;
use crate::path_error::IoContext;
use crate::store::StoreError;

/// One empty file an object, so that every process that has the store open knows.
pub(super) struct Damage {
    directory: PathBuf,
    known: RwLock<HashSet<Digest>>,
}

impl Damage {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, known: RwLock::default() }
    }

    pub(super) fn refresh(&self) -> Result<(), StoreError> {
        let mut known = HashSet::new();
        for entry in fs::read_dir(&self.directory).context("list", &self.directory)? {
            let name = entry.context("list", &self.directory)?.file_name();
            known.extend(name.to_str().and_then(|name| name.parse::<Digest>().ok()));
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(super) fn mark(&self, digest: &Digest) -> Result<(), StoreError> {
        tracing::warn!(object = %digest, "Found a damaged object.");
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(*digest);
        let path = self.directory.join(digest.to_string());
        File::create(&path).context("create", &path)?;
        // The store does not have what it had.
        generation::renew(self.directory.parent().unwrap_or(&self.directory))?;
        Ok(())
    }

    /// Forgets the damage, once a sound copy is in place.
    pub(super) fn heal(&self, digest: &Digest) -> Result<(), StoreError> {
        if !self.known.write().unwrap_or_else(PoisonError::into_inner).remove(digest) {
            return Ok(());
        }
        let path = self.directory.join(digest.to_string());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Ok(Err(error).context("remove", &path)?)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn all(&self) -> Vec<Digest> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}
