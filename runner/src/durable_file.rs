//! Files that are either there, whole, or not there, whatever happens to the machine.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use snapshots::path_error::{IoContext as _, PathError};

/// Replaces `path` by `bytes`: temporary file beside it, fsync, rename, fsync of the directory.
///
/// # Errors
///
/// The step that did not work. `path` is then what it was before.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), PathError> {
    let directory = parent(path);
    let mut file = temporary(path)?;
    file.write_all(bytes).context("write", path)?;
    file.as_file().sync_all().context("write to disk", path)?;
    file.persist(path).map_err(|failed| failed.error).context("rename into", path)?;
    sync_directory(directory)
}

/// Makes `path` hold `bytes` unless it exists; says whether it was made.
///
/// Of several that try at once, exactly one is told `true`, and nobody ever sees half a file.
///
/// # Errors
///
/// The step that did not work.
pub fn create_new(path: &Path, bytes: &[u8]) -> Result<bool, PathError> {
    let directory = parent(path);
    let mut file = temporary(path)?;
    file.write_all(bytes).context("write", path)?;
    file.as_file().sync_all().context("write to disk", path)?;
    match fs::hard_link(file.path(), path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error).context("create", path),
    }
    file.close().context("remove the temporary file of", path)?;
    sync_directory(directory)?;
    Ok(true)
}

/// Writes `value` as indented JSON with [`write()`].
///
/// # Errors
///
/// As [`write()`]; also when `value` cannot be JSON.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), PathError> {
    write(path, &to_json(path, value)?)
}

/// Writes `value` as indented JSON with [`create_new`].
///
/// # Errors
///
/// As [`create_new`]; also when `value` cannot be JSON.
pub fn create_new_json<T: Serialize>(path: &Path, value: &T) -> Result<bool, PathError> {
    create_new(path, &to_json(path, value)?)
}

/// Reads JSON that one of the functions here wrote; `None` when there is no such file.
///
/// # Errors
///
/// When the file is there and cannot be read or understood.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, PathError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("read", path),
    };
    serde_json::from_slice(&bytes).map(Some).context("understand", path)
}

/// Makes the names in `directory` survive a power cut.
///
/// # Errors
///
/// What the system answered.
pub fn sync_directory(directory: &Path) -> Result<(), PathError> {
    File::open(directory).and_then(|open| open.sync_all()).context("write to disk", directory)
}

/// Returns `value` as indented JSON with a newline at the end.
pub(crate) fn to_json<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, PathError> {
    let mut bytes = serde_json::to_vec_pretty(value).context("encode", path)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn temporary(path: &Path) -> Result<tempfile::NamedTempFile, PathError> {
    tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(parent(path))
        .context("create a temporary file for", path)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::thread;

    use super::*;

    #[test]
    fn a_written_file_is_private_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("exit.json");

        write(&path, b"first").unwrap();
        write(&path, b"second").unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn of_many_creators_exactly_one_wins() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("supervisor.json");
        let winners: usize = thread::scope(|scope| {
            let racers: Vec<_> = (0..8)
                .map(|n| {
                    let path = &path;
                    scope.spawn(move || create_new(path, format!("{n}").as_bytes()).unwrap())
                })
                .collect();
            racers.into_iter().map(|racer| usize::from(racer.join().unwrap())).sum()
        });

        assert_eq!(winners, 1);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_file_is_none_and_a_broken_one_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("launch.json");

        assert!(read_json::<u32>(&path).unwrap().is_none());
        fs::write(&path, b"{").unwrap();
        let error = read_json::<u32>(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot understand {path:?}"));
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = write(Path::new("/nonexistent/x.json"), b"").unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"cannot create a temporary file for "/nonexistent/x.json""#
        );
    }
}
