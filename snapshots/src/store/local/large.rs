//! Objects of 4 MiB and more: one file each.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{Content, durable, pack};
use crate::digest::{Digest, Hasher};
use crate::path_error::IoContext;
use crate::store::StoreError;

/// How much is read and hashed at a time.
const CHUNK_BYTES: usize = 1 << 20;

pub(super) struct LargeObjects {
    directory: PathBuf,
}

impl LargeObjects {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_string();
        self.directory.join(&hex[..2]).join(hex)
    }

    /// Sets the object's time stamp to now; `false` when it is not there.
    pub(super) fn freshen(&self, digest: &Digest) -> Result<bool, StoreError> {
        pack::freshen(&self.path(digest))
    }

    /// Streams the object to `out`, hashing it on the way.
    pub(super) fn copy_to(
        &self,
        digest: &Digest,
        out: &mut dyn Write,
    ) -> Result<Content<u64>, StoreError> {
        let path = self.path(digest);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) => return Content::of_error(error, &path),
        };
        let mut hasher = Hasher::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut length = 0;
        loop {
            match file.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => {
                    hasher.update(&chunk[..read]);
                    out.write_all(&chunk[..read])
                        .map_err(|source| StoreError::Stream { source })?;
                    length += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Content::of_error(error, &path),
            }
        }
        let sound = hasher.finish() == *digest;
        Ok(if sound { Content::Sound(length) } else { Content::Damaged })
    }

    /// Gives a synced file its place. The caller syncs the directory that is returned.
    pub(super) fn place(
        &self,
        digest: &Digest,
        file: NamedTempFile,
    ) -> Result<PathBuf, StoreError> {
        let path = self.path(digest);
        let directory = path.parent().unwrap_or(&self.directory).to_owned();
        match fs::create_dir(&directory) {
            Ok(()) => durable::sync_directory(&self.directory)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => Err(error).context("create", &directory)?,
        }
        durable::rename(file, &path, durable::READ_ONLY)?;
        Ok(directory)
    }
}
