//! Tells whether anything was removed since somebody looked.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{LocalStore, durable};
use crate::digest::Digest;
use crate::path_error::{IoContext, PathError};
use crate::store::StoreError;

impl LocalStore {
    /// Returns a value that is another one once anything was removed from the store or found
    /// damaged: while it stays the same, what the store had it still has.
    ///
    /// Ask under a [`Lease`](super::Lease), which keeps clean-up out while it lives.
    ///
    /// # Errors
    ///
    /// [`StoreError::Path`]: the store cannot be read or written.
    pub fn generation(&self) -> Result<Digest, StoreError> {
        let directory = &self.inner.directory;
        let read = || -> Result<Option<Digest>, PathError> {
            let path = path(directory);
            match fs::read_to_string(&path) {
                Ok(text) => Ok(text.trim().parse().ok()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error).context("read", path),
            }
        };
        if let Some(generation) = read()? {
            return Ok(generation);
        }
        Ok(renew(directory)?)
    }
}

/// Starts another generation; durable when it returns. Call it before removing anything.
pub(super) fn renew(directory: &Path) -> Result<Digest, PathError> {
    let random = || RandomState::new().hash_one(SystemTime::now());
    let words = [random(), random(), random(), random()].map(u64::to_le_bytes);
    let generation = Digest::of(words.as_flattened());
    let text = format!("{generation}\n");
    durable::write(&directory.join("temporary"), &path(directory), text.as_bytes())?;
    Ok(generation)
}

fn path(directory: &Path) -> PathBuf {
    directory.join("generation")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::lease::Exclusive;
    use super::*;

    #[test]
    fn only_removing_starts_another_generation() {
        let home = tempfile::tempdir().unwrap();
        let store = LocalStore::open(home.path()).unwrap();
        let first = store.generation().unwrap();

        let mut writer = store.writer().unwrap();
        writer.put(Digest::of(b"x"), b"x").unwrap();
        writer.commit().unwrap();
        let again = LocalStore::open(home.path()).unwrap();
        assert_eq!(again.generation().unwrap(), first);

        drop(Exclusive::wait(home.path(), Duration::ZERO).unwrap());
        assert_ne!(store.generation().unwrap(), first);
    }
}
