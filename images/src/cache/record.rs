//! The record of a built environment: the one file that makes it exist.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use snapshots::path_error::{IoContext, PathError};

use crate::builder::FailedBuild;
use crate::environment::RequirementsFile;
use crate::interpreter::InterpreterFacts;
use crate::key::EnvironmentKey;

/// The version of records that is written and read.
pub(super) const VERSION: u32 = 1;

/// `<key>.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) version: u32,
    pub(super) key: EnvironmentKey,
    pub(super) kind: String,
    /// The name of the first file it was made from.
    pub(super) definition: String,
    /// Its directory's name. The log is beside it, with `.log` at the end.
    pub(super) directory: String,
    pub(super) created_time_utc: Timestamp,
    pub(super) bytes: u64,
    pub(super) built_by: String,
    /// What it says of itself.
    pub(super) facts: InterpreterFacts,
    /// What it is based on.
    pub(super) base: InterpreterFacts,
    pub(super) packages: Vec<String>,
    pub(super) files: Vec<RequirementsFile>,
}

/// `<key>.failed.json`: the last build, for those who waited for it and to look at.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failure {
    pub(super) version: u32,
    pub(super) directory: String,
    pub(super) failed_time_utc: Timestamp,
    pub(super) build: FailedBuild,
}

/// `<key>.building.json`: a build that is under way, or was when its process died.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Building {
    pub(super) directory: String,
}

/// The names of an environment's files.
pub(super) struct Names<'a> {
    pub(super) cache: &'a Path,
    pub(super) key: &'a EnvironmentKey,
}

impl Names<'_> {
    pub(super) fn record(&self) -> PathBuf {
        self.file("json")
    }

    pub(super) fn failure(&self) -> PathBuf {
        self.file("failed.json")
    }

    pub(super) fn building(&self) -> PathBuf {
        self.file("building.json")
    }

    /// Held while it is built or removed.
    pub(super) fn lock(&self) -> PathBuf {
        self.file("lock")
    }

    /// Held, shared, while it is in use. Its time of change is when it was used last.
    pub(super) fn lease(&self) -> PathBuf {
        self.file("lease")
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.cache.join(format!("{}.{ending}", self.key))
    }
}

/// Returns the log of the build in `directory`, which is a name.
pub(super) fn log_file(cache: &Path, directory: &str) -> PathBuf {
    cache.join(format!("{directory}.log"))
}

/// Reads a file that may not be there. One that cannot be understood counts as not there: it only
/// says what can be found out again.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, PathError> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.context("read", path)?,
    };
    match serde_json::from_slice(&text) {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "Ignoring a damaged file.");
            Ok(None)
        }
    }
}

/// Writes a file so that it is there whole or not at all, also after a power cut.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), PathError> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let text = serde_json::to_vec_pretty(value).map_err(io::Error::other).context("write", path)?;
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempfile_in(directory)
        .context("create", path)?;
    file.write_all(&text).and_then(|()| file.as_file().sync_all()).context("write", path)?;
    file.persist(path).map_err(|error| error.error).context("write", path)?;
    sync_directory(directory)
}

/// How the names of unfinished files start.
pub(super) const TEMPORARY: &str = ".tmp-";

pub(super) fn sync_directory(directory: &Path) -> Result<(), PathError> {
    File::open(directory).and_then(|directory| directory.sync_all()).context("sync", directory)
}

/// Removes a file that may not be there.
pub(super) fn remove_file(path: &Path) -> Result<(), PathError> {
    absent_is_fine(fs::remove_file(path)).context("remove", path)
}

/// Removes a directory that may not be there, with all that is in it.
pub(super) fn remove_directory(path: &Path) -> Result<(), PathError> {
    absent_is_fine(fs::remove_dir_all(path)).context("remove", path)
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
