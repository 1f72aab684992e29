//! What interpreters said of themselves, kept on disk.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use snapshots::digest::Digest;
use snapshots::path_error::{IoContext, PathError};

use super::InterpreterFacts;

/// The version of the file: a probe that asks for more needs another one.
const VERSION: u32 = 1;

/// What tells that an interpreter is still the one it was.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    path: PathBuf,
    executable: FileStamp,
    /// Of the virtual environment it is in.
    pyvenv_cfg: Option<FileStamp>,
}

/// A file's device, inode, size, and time of change in seconds and nanoseconds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FileStamp(u64, u64, u64, i64, i64);

#[derive(Serialize, Deserialize)]
struct Description {
    version: u32,
    stamp: Stamp,
    facts: InterpreterFacts,
}

impl Stamp {
    /// Returns the stamp of `interpreter` as it is now; `None` when that says too little.
    pub(super) fn of(interpreter: &Path) -> Option<Self> {
        // What a script starts may depend on anything.
        if super::is_script(interpreter) {
            return None;
        }
        let around = interpreter.parent().and_then(Path::parent)?;
        Some(Self {
            path: interpreter.to_owned(),
            executable: FileStamp::of(interpreter)?,
            pyvenv_cfg: FileStamp::of(&around.join("pyvenv.cfg")),
        })
    }
}

impl FileStamp {
    fn of(path: &Path) -> Option<Self> {
        let data = fs::metadata(path).ok()?;
        Some(Self(data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
    }
}

/// Returns what the interpreter said when it had the same stamp. A file that cannot be read or
/// understood is as good as none.
pub(super) fn read(directory: &Path, stamp: &Stamp) -> Option<InterpreterFacts> {
    let text = fs::read(file(directory, stamp)).ok()?;
    let description: Description = serde_json::from_slice(&text).ok()?;
    (description.version == VERSION && description.stamp == *stamp).then_some(description.facts)
}

/// Keeps what the interpreter said. Not synced: losing it costs a tenth of a second.
pub(super) fn write(
    directory: &Path,
    stamp: Stamp,
    facts: &InterpreterFacts,
) -> Result<(), PathError> {
    fs::create_dir_all(directory).context("create", directory)?;
    let path = file(directory, &stamp);
    let description = Description { version: VERSION, stamp, facts: facts.clone() };
    let text =
        serde_json::to_vec(&description).map_err(std::io::Error::other).context("write", &path)?;
    let temporary = tempfile::NamedTempFile::new_in(directory).context("create", &path)?;
    fs::write(temporary.path(), text).context("write", &path)?;
    temporary.persist(&path).map_err(|error| error.error).context("write", &path)?;
    Ok(())
}

fn file(directory: &Path, stamp: &Stamp) -> PathBuf {
    directory.join(format!("{}.json", Digest::of(stamp.path.as_os_str().as_bytes()).short(32)))
}
