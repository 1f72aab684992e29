//! Where the script keeps temporary files: its own directory, removed at the end.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use snapshots::path_error::{IoContext as _, PathError};

use crate::run_directory::RunDirectory;

/// A socket's path holds 108 bytes with the final NUL, and Python's multiprocessing (so also
/// every data loader with workers) adds `/pymp-xxxxxxxx/listener-xxxxxxxx` to `TMPDIR`.
const MAX_LENGTH: usize = 107 - "/pymp-xxxxxxxx/listener-xxxxxxxx".len();

/// The directory that becomes `TMPDIR`.
#[derive(Debug)]
pub(crate) struct TemporaryDirectory {
    path: PathBuf,
}

impl TemporaryDirectory {
    /// Makes `tmp/` of `run`, or a private directory with a short name when that one's is too
    /// long for sockets.
    pub(crate) fn create(run: &RunDirectory) -> Result<Self, PathError> {
        let path = run.temporary();
        if path.as_os_str().len() <= MAX_LENGTH {
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(error).context("create", path);
                }
                _ => return Ok(Self { path }),
            }
        }
        let made = tempfile::Builder::new()
            .prefix("trainyard-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in("/tmp");
        Ok(Self { path: made.context("create a directory in", "/tmp")?.keep() })
    }

    /// Returns where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it with all that is in it; never follows a link out of it.
    pub(crate) fn close(self) -> Result<(), PathError> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).context("remove", &self.path)
            }
            _ => Ok(()),
        }
    }

    /// Says whether the path is text, as environment variables of a launch are.
    pub(crate) fn is_text(&self) -> bool {
        std::str::from_utf8(self.path.as_os_str().as_bytes()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_directory_gets_a_short_private_one() {
        let base = tempfile::tempdir().unwrap();
        let near = RunDirectory::new(base.path());
        let far = RunDirectory::new(base.path().join("x".repeat(100)));

        let short = TemporaryDirectory::create(&near).unwrap();
        let elsewhere = TemporaryDirectory::create(&far).unwrap();

        assert_eq!(short.path(), near.temporary());
        assert!(elsewhere.path().as_os_str().len() <= MAX_LENGTH, "{elsewhere:?}");
        for made in [short, elsewhere] {
            let path = made.path().to_owned();
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
            fs::write(path.join("x"), b"x").unwrap();
            made.close().unwrap();
            assert!(!path.exists());
        }
    }

    #[test]
    fn what_a_link_points_at_stays() {
        let base = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), b"x").unwrap();
        let made = TemporaryDirectory::create(&RunDirectory::new(base.path())).unwrap();
        std::os::unix::fs::symlink(outside.path(), made.path().join("link")).unwrap();

        made.close().unwrap();

        assert!(outside.path().join("kept").exists());
    }
}
