//! The record of a built environment: the one file that makes it exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use snapshots::path_error::{IoContext, PathError};

use crate::builder::FailedBuild;
use crate::environment::{PreparedImage, RequirementsFile};
use crate::interpreter::InterpreterFacts;
use crate::key::{EnvironmentKey, KeyParts};

/// The version of records that is written. Those of version 1 are read, too.
pub(super) const VERSION: u32 = 2;

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
    /// The version of its Python, if it is known. Version 1 had it in the facts only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) python_version: Option<String>,
    /// What it says of itself, where it is one of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) facts: Option<InterpreterFacts>,
    /// What it is based on, where that is an interpreter of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base: Option<InterpreterFacts>,
    /// What processes in it find in their environment. Version 1: `VIRTUAL_ENV`, unsaid.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) variables: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) image: Option<RecordedImage>,
    pub(super) packages: Vec<String>,
    pub(super) files: Vec<RequirementsFile>,
    /// Since version 2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) lock: Vec<RequirementsFile>,
    /// Since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parts: Option<KeyParts>,
}

/// What is kept of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordedImage {
    pub(super) image: PreparedImage,
    /// The Python to start in it: a path or a name.
    pub(super) interpreter: String,
    /// The `sys.prefix` of that, or nothing.
    pub(super) prefix: String,
    /// The text that it was built by.
    pub(super) dockerfile: String,
}

impl Record {
    /// Fills in what its version did not say.
    pub(super) fn upgraded(mut self) -> Self {
        if self.version < 2
            && let Some(facts) = &self.facts
        {
            self.python_version = Some(facts.version.clone());
            let prefix = facts.prefix.to_string_lossy().into_owned();
            self.variables = BTreeMap::from([("VIRTUAL_ENV".to_owned(), prefix)]);
        }
        self
    }
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
    /// Whether an engine builds it.
    #[serde(default)]
    pub(super) in_engine: bool,
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

    /// Held, shared, while the build in `directory`, which is a name, is in use. Its time of change
    /// is when it was used last.
    pub(super) fn lease(&self, directory: &str) -> PathBuf {
        let own = self.cache.join(format!("{directory}.lease"));
        if own.exists() { own } else { self.old_lease() }
    }

    /// The same of builds by versions that had one for each key.
    pub(super) fn old_lease(&self) -> PathBuf {
        self.file("lease")
    }

    /// Returns the names of the directories of all builds of which anything is there.
    pub(super) fn builds(&self) -> Result<BTreeSet<String>, PathError> {
        let start = format!("{}-", self.key);
        let mut builds = BTreeSet::new();
        for entry in fs::read_dir(self.cache).context("read", self.cache)? {
            let name =
                entry.context("read", self.cache)?.file_name().to_string_lossy().into_owned();
            if name.starts_with(&start) {
                let build = name.strip_suffix(".log").or_else(|| name.strip_suffix(".lease"));
                builds.insert(build.unwrap_or(&name).to_owned());
            }
        }
        Ok(builds)
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.cache.join(format!("{}.{ending}", self.key))
    }
}

/// Returns the log of the build in `directory`, which is a name.
pub(super) fn log_file(cache: &Path, directory: &str) -> PathBuf {
    cache.join(format!("{directory}.log"))
}

/// Returns the record within `directory`, which is a name: it stays when another build has taken its
/// place.
pub(super) fn within(cache: &Path, directory: &str) -> PathBuf {
    cache.join(directory).join("record.json")
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
