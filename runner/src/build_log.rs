//! The log of an environment's build, in the directory of the run that it is for.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use snapshots::path_error::{IoContext as _, PathError};

use crate::run_directory::RunDirectory;

/// Appends to the log of a build; there is a file only if the build says something.
pub struct BuildLog {
    path: PathBuf,
    file: Option<File>,
    failed: Option<PathError>,
}

impl BuildLog {
    /// Appends to the build log of `run`.
    #[must_use]
    pub fn of(run: &RunDirectory) -> Self {
        Self { path: run.build_log(), file: None, failed: None }
    }

    /// Appends `bytes`. The first error is told by [`finish`](Self::finish).
    pub fn write(&mut self, bytes: &[u8]) {
        let path = self.path.clone();
        let written = self.open().and_then(|file| file.write_all(bytes).context("write", &path));
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
    }

    /// Ends the log.
    ///
    /// # Errors
    ///
    /// The first that came up.
    pub fn finish(self) -> Result<(), PathError> {
        self.failed.map_or(Ok(()), Err)
    }

    fn open(&mut self) -> Result<&mut File, PathError> {
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            let file = options.append(true).create(true).mode(0o600).open(&self.path);
            self.file = Some(file.context("open", &self.path)?);
        }
        Ok(self.file.as_mut().expect("just set"))
    }
}
