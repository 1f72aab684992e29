//! Writing a file so that it is there whole or not at all, also after a power cut.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::path_error::{IoContext, PathError};

/// The mode of objects and packs: their content never changes.
pub(super) const READ_ONLY: u32 = 0o440;

/// Makes a file in `temporary` that is gone when dropped, unless it was renamed.
pub(super) fn temporary_file(temporary: &Path) -> Result<NamedTempFile, PathError> {
    tempfile::Builder::new()
        .prefix("")
        .tempfile_in(temporary)
        .context("create a file in", temporary)
}

/// Gives `file` its place, without syncing it or the directory.
pub(super) fn rename(file: NamedTempFile, to: &Path, mode: u32) -> Result<(), PathError> {
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))
        .context("set the mode of", to)?;
    file.persist(to).map(drop).map_err(|error| error.error).context("rename into place", to)
}

/// Makes the names in `directory` survive a power cut.
pub(super) fn sync_directory(directory: &Path) -> Result<(), PathError> {
    File::open(directory).and_then(|file| file.sync_all()).context("sync", directory)
}

/// Writes a small file: sync, rename, sync the directory.
pub(super) fn write(temporary: &Path, to: &Path, bytes: &[u8]) -> Result<(), PathError> {
    let mut file = temporary_file(temporary)?;
    file.write_all(bytes).context("write", to)?;
    file.as_file().sync_data().context("sync", to)?;
    rename(file, to, 0o640)?;
    sync_directory(to.parent().unwrap_or(to))
}
