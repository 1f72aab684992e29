//! The files of a run at home that grow as those on the machine do.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, OFlags, flock};
use snapshots::path_error::{IoContext as _, PathError};

use crate::durable_file;
use crate::exit_record::{ExitReason, ExitRecord};
use crate::remote::files::MIRRORED;
use crate::run_directory::RunDirectory;

/// The place in [`MIRRORED`] of the one file that a script itself writes,
/// and may begin anew.
const METRICS: usize = 3;

/// What can keep a run's files from being brought up to date.
#[derive(Debug, thiserror::Error)]
pub(super) enum MirrorError {
    /// The two sides do not fit together.
    #[error(
        "{path:?} is not what the machine has: it holds {here} bytes here, and the machine goes on \
         at byte {there}"
    )]
    Offset {
        /// The file at home.
        path: PathBuf,
        /// How long it is.
        here: u64,
        /// Where what comes begins.
        there: u64,
    },
    /// The log at home has what that on the machine never had.
    #[error("{path:?} holds {here} bytes here, the whole log on the machine {there}")]
    Longer {
        /// The file at home.
        path: PathBuf,
        /// How long it is.
        here: u64,
        /// How long the other is.
        there: u64,
    },
    /// A file at home cannot be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// The mirrored files of one run, for one process at a time.
pub(super) struct MirrorFiles {
    directory: RunDirectory,
    _lock: File,
}

impl MirrorFiles {
    /// Takes the files of `directory`; `None` while somebody else has them.
    ///
    /// # Errors
    ///
    /// The run directory cannot be used.
    pub(super) fn take(directory: &RunDirectory) -> Result<Option<Self>, PathError> {
        let lock = File::open(directory.path()).context("open", directory.path())?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { directory: directory.clone(), _lock: lock })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error).context("lock", directory.path()),
        }
    }

    fn path(&self, file: usize) -> Option<PathBuf> {
        MIRRORED.get(file).map(|name| self.directory.path().join(name))
    }

    /// Returns how much there is of each file.
    ///
    /// # Errors
    ///
    /// One of them cannot be looked at.
    pub(super) fn lengths(&self) -> Result<Vec<u64>, PathError> {
        let length = |name: &&str| {
            let path = self.directory.path().join(name);
            match fs::symlink_metadata(&path) {
                Ok(metadata) => Ok(metadata.len()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
                Err(error) => Err(error).context("examine", path),
            }
        };
        MIRRORED.iter().map(length).collect()
    }

    /// Appends `bytes`, which begin at `offset` on the machine.
    ///
    /// # Errors
    ///
    /// [`MirrorError::Offset`] when the file at home ends elsewhere; nothing was written then.
    pub(super) fn append(&self, file: usize, offset: u64, bytes: &[u8]) -> Result<(), MirrorError> {
        // A later version may mirror more than this one knows.
        let Some(path) = self.path(file) else { return Ok(()) };
        let mut open = OpenOptions::new();
        open.append(true).create(true).mode(0o600).custom_flags(no_follow());
        let mut opened = match open.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_parent(&path)?;
                open.open(&path)
            }
            opened => opened,
        }
        .context("open", &path)?;
        let here = opened.metadata().context("examine", &path)?.len();
        if here != offset {
            // What a script began anew is brought home whole, with its outputs.
            let is_scripts_own = file == METRICS;
            let error = MirrorError::Offset { path, here, there: offset };
            return if is_scripts_own { Ok(()) } else { Err(error) };
        }
        Ok(opened.write_all(bytes).context("write", &path)?)
    }

    fn make_parent(&self, path: &std::path::Path) -> Result<(), PathError> {
        let parent = path.parent().unwrap_or(path);
        DirBuilder::new().mode(0o700).recursive(true).create(parent).context("create", parent)
    }

    /// Returns the end of the run as it is at home, where the log may be longer: a machine that
    /// lost its power may have lost what had come home before.
    ///
    /// # Errors
    ///
    /// [`MirrorError::Longer`]: nothing can have taken it.
    pub(super) fn end(&self, exit: &ExitRecord) -> Result<ExitRecord, MirrorError> {
        let path = self.directory.std_log();
        let (here, there) = (fs::metadata(&path).map_or(0, |log| log.len()), exit.log_bytes);
        let mut exit = exit.clone();
        if here > there {
            if exit.reason != ExitReason::HostRebooted {
                return Err(MirrorError::Longer { path, here, there });
            }
            let lost = here - there;
            exit.message += &format!("; it lost {lost} bytes of the log, which are kept here");
            exit.log_bytes = here;
        }
        Ok(exit)
    }

    /// Makes what was appended survive a power cut.
    ///
    /// # Errors
    ///
    /// The system says no.
    pub(super) fn sync(&self) -> Result<(), PathError> {
        for name in MIRRORED {
            let path = self.directory.path().join(name);
            match OpenOptions::new().read(true).custom_flags(no_follow()).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => {
                    opened.and_then(|file| file.sync_all()).context("write to disk", &path)?;
                }
            }
            durable_file::sync_directory(path.parent().unwrap_or(&path))?;
        }
        Ok(())
    }
}

fn no_follow() -> i32 {
    OFlags::NOFOLLOW.bits().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> (tempfile::TempDir, RunDirectory) {
        let base = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(base.path().join("run"));
        run.create().unwrap();
        (base, run)
    }

    #[test]
    fn files_grow_by_what_comes_next_and_by_nothing_else() {
        let (_base, run) = run();
        let files = MirrorFiles::take(&run).unwrap().unwrap();
        assert_eq!(files.lengths().unwrap(), [0; 6]);

        files.append(0, 0, b"one\n").unwrap();
        files.append(3, 0, b"{}").unwrap();
        files.append(0, 4, b"two\n").unwrap();
        files.append(6, 0, b"of a later version").unwrap();
        assert_eq!(fs::read(run.std_log()).unwrap(), b"one\ntwo\n");
        assert_eq!(files.lengths().unwrap(), [8, 0, 0, 2, 0, 0]);

        for offset in [4, 9] {
            let error = files.append(0, offset, b"x").unwrap_err();
            assert!(matches!(error, MirrorError::Offset { here: 8, .. }), "{error}");
        }
        files.append(3, 0, b"begun anew").unwrap();
        assert_eq!(files.lengths().unwrap(), [8, 0, 0, 2, 0, 0]);
        files.sync().unwrap();
    }

    #[test]
    fn a_log_that_is_longer_than_the_one_there_is_told_of() {
        let (_base, run) = run();
        let files = MirrorFiles::take(&run).unwrap().unwrap();
        files.append(0, 0, b"one\n").unwrap();
        let ended = |reason, log_bytes| ExitRecord {
            log_bytes,
            ..ExitRecord::new(reason, "", jiff::Timestamp::UNIX_EPOCH)
        };
        let whole = ended(ExitReason::Completed, 4);
        assert_eq!(files.end(&whole).unwrap(), whole);
        let kept = files.end(&ended(ExitReason::HostRebooted, 1)).unwrap();
        assert_eq!(kept.log_bytes, 4);
        assert_eq!(kept.message, "; it lost 3 bytes of the log, which are kept here");
        let error = files.end(&ended(ExitReason::Completed, 3)).unwrap_err();
        assert!(error.to_string().ends_with("holds 4 bytes here, the whole log on the machine 3"));
        assert_eq!(fs::read(run.std_log()).unwrap(), b"one\n");
    }

    #[test]
    fn a_link_is_not_written_through() {
        let (base, run) = run();
        let elsewhere = base.path().join("elsewhere");
        fs::write(&elsewhere, "").unwrap();
        std::os::unix::fs::symlink(&elsewhere, run.std_log()).unwrap();

        let files = MirrorFiles::take(&run).unwrap().unwrap();
        assert!(files.append(0, 0, b"x").is_err());
        assert_eq!(fs::read(&elsewhere).unwrap(), b"");
    }

    #[test]
    fn one_writes_at_a_time() {
        let (_base, run) = run();
        let first = MirrorFiles::take(&run).unwrap().unwrap();
        assert!(MirrorFiles::take(&run).unwrap().is_none());
        drop(first);
        assert!(MirrorFiles::take(&run).unwrap().is_some());
    }
}
