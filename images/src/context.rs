//! Build contexts as tar streams: the tree of a snapshot, a directory, single files.
//!
//! The same files give the same bytes: no owners, no times, and two modes. Nothing is held in
//! memory but what is being copied. An engine's build cache compares contents, so times of 1980
//! are as good as any.

mod header;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use snapshots::digest::Digest;
use snapshots::path_error::{IoContext, PathError};
use snapshots::store::StoreError;
use snapshots::store::local::LocalStore;
use snapshots::tree::EntryKind;

use self::header::{Kind, header};

/// Why a build context was not written.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A file of this machine cannot be read.
    #[error(transparent)]
    Read(#[from] PathError),
    /// The snapshot cannot be read.
    #[error("the build context cannot be read")]
    Store(#[from] StoreError),
    /// Whoever reads it does not any more.
    #[error("the build context could not be sent")]
    Send(#[source] io::Error),
    /// A file changed while it was read.
    #[error("{path:?} changed while it was sent")]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

/// Writes an archive.
pub(crate) struct ContextWriter<'a> {
    out: &'a mut dyn Write,
    /// The directories that were written.
    directories: BTreeSet<Vec<u8>>,
}

impl<'a> ContextWriter<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, directories: BTreeSet::new() }
    }

    /// Adds a file, and the directories it is in.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) -> Result<(), ContextError> {
        for (at, _) in path.match_indices('/') {
            self.directory(&path.as_bytes()[..at])?;
        }
        self.entry(path.as_bytes(), &Kind::File { executable: false }, content.len() as u64)?;
        self.send(content)?;
        self.pad(content.len() as u64)
    }

    /// Adds the tree of a snapshot; without the file `but`, if one is named.
    pub(crate) fn tree(
        &mut self,
        store: &LocalStore,
        root: &Digest,
        but: Option<&str>,
    ) -> Result<(), ContextError> {
        // Nothing of it goes before all of it was sent, whoever cleans up.
        let _lease = store.lease()?;
        // Directories one after the other, each before what it holds.
        let mut open = vec![(Vec::new(), *root)];
        while let Some((directory, digest)) = open.pop() {
            if !directory.is_empty() {
                self.directory(&directory)?;
            }
            for entry in store.read_tree(&digest)?.entries() {
                let path = join(&directory, &entry.name);
                match &entry.kind {
                    EntryKind::Directory { digest } => open.push((path, *digest)),
                    EntryKind::Symlink { target } => {
                        self.entry(&path, &Kind::Link { target: target.clone() }, 0)?;
                    }
                    EntryKind::File { .. } if but.is_some_and(|but| but.as_bytes() == path) => {}
                    EntryKind::File { digest, size, executable } => {
                        self.entry(&path, &Kind::File { executable: *executable }, *size)?;
                        store.copy_to(digest, self.out)?;
                        self.pad(*size)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds a directory of this machine and all that is in it, as `name`. Links stay links.
    pub(crate) fn host_directory(&mut self, from: &Path, name: &str) -> Result<(), ContextError> {
        let mut open = vec![(from.to_owned(), name.as_bytes().to_vec())];
        while let Some((from, name)) = open.pop() {
            self.directory(&name)?;
            let mut inside: Vec<_> =
                fs::read_dir(&from).and_then(Iterator::collect).context("read", &from)?;
            inside.sort_by_key(fs::DirEntry::file_name);
            for entry in inside {
                let (from, path) = (entry.path(), join(&name, entry.file_name().as_bytes()));
                let data = entry.metadata().context("read", &from)?;
                if data.is_dir() {
                    open.push((from, path));
                } else if data.is_symlink() {
                    let target = fs::read_link(&from).context("read", &from)?;
                    let target = target.as_os_str().as_bytes().to_vec();
                    self.entry(&path, &Kind::Link { target }, 0)?;
                } else if data.is_file() {
                    let executable = data.permissions().mode() & 0o100 != 0;
                    self.entry(&path, &Kind::File { executable }, data.len())?;
                    self.copy(&from, data.len())?;
                }
            }
        }
        Ok(())
    }

    /// Ends the archive.
    pub(crate) fn finish(self) -> Result<(), ContextError> {
        self.out.write_all(&[0; 1024]).map_err(ContextError::Send)
    }

    fn directory(&mut self, path: &[u8]) -> Result<(), ContextError> {
        if !self.directories.insert(path.to_vec()) {
            return Ok(());
        }
        self.entry(&[path, b"/"].concat(), &Kind::Directory, 0)
    }

    fn entry(&mut self, path: &[u8], kind: &Kind, size: u64) -> Result<(), ContextError> {
        let header = header(path, kind, size);
        self.send(&header)
    }

    /// Copies a file whose length has been told.
    fn copy(&mut self, path: &Path, length: u64) -> Result<(), ContextError> {
        let file = File::open(path).context("open", path)?;
        let mut from = file.take(length);
        let mut buffer = vec![0; 128 << 10];
        let mut copied = 0;
        loop {
            let read = from.read(&mut buffer).context("read", path)?;
            if read == 0 {
                break;
            }
            self.send(&buffer[..read])?;
            copied += read as u64;
        }
        if copied < length {
            return Err(ContextError::Changed { path: path.to_owned() });
        }
        self.pad(length)
    }

    /// Fills the last block.
    fn pad(&mut self, length: u64) -> Result<(), ContextError> {
        let over = usize::try_from(length % 512).unwrap_or(0);
        self.send(&[0; 512][..(512 - over) % 512])
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), ContextError> {
        self.out.write_all(bytes).map_err(ContextError::Send)
    }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

#[cfg(test)]
mod tests;
