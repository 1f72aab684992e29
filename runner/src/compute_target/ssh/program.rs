//! This program, as it is put on machines.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use snapshots::digest::{Digest, Hasher};
use snapshots::path_error::{IoContext as _, PathError};

/// This program. What was opened once stays the same, also when the file is replaced by a newer
/// version while the agent runs.
pub(super) struct Program {
    path: PathBuf,
    opened: Mutex<Option<Opened>>,
}

struct Opened {
    file: File,
    digest: Digest,
}

impl Program {
    /// Stands for the program at `path`.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, opened: Mutex::default() }
    }

    /// Returns its digest.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(super) fn digest(&self) -> Result<Digest, PathError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = &*opened {
            return Ok(opened.digest);
        }
        let (file, digest) = open(&self.path).context("read", &self.path)?;
        *opened = Some(Opened { file, digest });
        Ok(digest)
    }

    /// Returns it from its first byte on.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(super) fn content(&self) -> Result<impl Read + use<>, PathError> {
        self.digest()?;
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let file = opened.as_ref().map(|opened| opened.file.try_clone());
        let file = file
            .unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
            .context("read", &self.path)?;
        Ok(Content { file, at: 0 })
    }

    /// Returns the name of its directory on machines.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(super) fn directory(&self) -> Result<String, PathError> {
        Ok(format!("{}-{}", env!("CARGO_PKG_VERSION"), self.digest()?.short(16)))
    }
}

/// The program, with a place of its own in it: the descriptor's is shared.
struct Content {
    file: File,
    at: u64,
}

impl Read for Content {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(bytes, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

fn open(path: &std::path::Path) -> io::Result<(File, Digest)> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((file, hasher.finish())),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_replaced_stays_what_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trainyard");
        std::fs::write(&path, b"old").unwrap();
        let program = Program::new(path.clone());
        let name = program.directory().unwrap();
        let new = directory.path().join("new");
        std::fs::write(&new, b"new").unwrap();
        std::fs::rename(&new, &path).unwrap();

        for _ in 0..2 {
            let mut content = Vec::new();
            program.content().unwrap().read_to_end(&mut content).unwrap();
            assert_eq!(content, b"old");
        }
        assert_eq!(program.directory().unwrap(), name);
        let digest = Digest::of(b"old").to_string();
        assert_eq!(name, format!("{}-{}", env!("CARGO_PKG_VERSION"), &digest[..16]));
    }
}
