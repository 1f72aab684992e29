//! Environments that were given a name: `registered/NAME.json` in the state directory, one file
//! with all versions of a name.

mod error;

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use images::environment::Environment;
use jiff::Timestamp;
use runner::container::ContainerOptions;
use serde::{Deserialize, Serialize};
use snapshots::digest::Digest;
use snapshots::path_error::{IoContext, PathError};

use crate::workspace::Workspace;

pub(crate) use error::RegisterError;

/// The version of the files.
const SCHEMA_VERSION: u32 = 1;
/// The longest name, as Azure's.
const NAME_LENGTH: usize = 255;
/// Beginnings of names that are Azure's own, in lower case.
const RESERVED: [&str; 2] = ["microsoft", "azureml"];

/// What a name is given to. It needs no file but the snapshot of its build context, if it has one:
/// whoever registers it sees to it that this is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Definition {
    /// What people call it, as `conda.yml`.
    pub(crate) definition: String,
    /// The environment.
    pub(crate) environment: Environment,
    /// What is asked of its container, if it is one.
    #[serde(default)]
    pub(crate) container: ContainerOptions,
    /// Variables that its scripts get.
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, String>,
}

/// An environment with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Registered {
    /// The name.
    pub(crate) name: String,
    /// Its version, as `1`.
    pub(crate) version: String,
    /// When it was given the name.
    pub(crate) registered_time_utc: Timestamp,
    /// What it was given to.
    #[serde(flatten)]
    pub(crate) definition: Definition,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    /// The latest is last.
    versions: Vec<Registered>,
}

/// The environments that have names.
#[derive(Clone, Debug)]
pub(crate) struct Register {
    directory: PathBuf,
}

impl Register {
    /// Takes that of a state directory. Touches no disk.
    pub(crate) fn new(workspace: &Workspace) -> Self {
        Self { directory: workspace.home().join("registered") }
    }

    /// Gives `name` to a definition, as `version` or the next number. A definition that is what
    /// the latest version is already keeps that version.
    ///
    /// # Errors
    ///
    /// The name is not one, or Azure's own, or has this version already, or the disk says no.
    pub(crate) fn save(
        &self,
        name: &str,
        version: Option<&str>,
        definition: Definition,
    ) -> Result<Registered, RegisterError> {
        check_name(name)?;
        version.map(check_version).transpose()?;
        let _lock = self.lock()?;
        let mut versions = self.versions(name)?;
        if let Some(latest) = versions.last()
            && latest.definition == definition
            && version.is_none_or(|version| version == latest.version)
        {
            return Ok(latest.clone());
        }
        let version = version.map_or_else(|| next_version(&versions), str::to_owned);
        if versions.iter().any(|known| known.version == version) {
            return Err(RegisterError::Exists { name: name.to_owned(), version });
        }
        let registered = Registered {
            name: name.to_owned(),
            version,
            registered_time_utc: Timestamp::now(),
            definition,
        };
        versions.push(registered.clone());
        self.write(name, versions)?;
        Ok(registered)
    }

    /// Returns the environment called `name`, in this version or the latest, if there is one.
    ///
    /// # Errors
    ///
    /// Its file cannot be read.
    pub(crate) fn load(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<Option<Registered>, RegisterError> {
        if check_characters(name).is_err() {
            return Ok(None);
        }
        let mut versions = self.versions(name)?;
        Ok(match version {
            None => versions.pop(),
            Some(version) => versions.into_iter().find(|known| known.version == version),
        })
    }

    /// Returns all of them, by name; the latest version of a name is last.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub(crate) fn list(&self) -> Result<Vec<Registered>, RegisterError> {
        let entries = match std::fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.context("list", &self.directory)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let path = entry.context("list", &self.directory)?.path();
            if path.extension().is_some_and(|extension| extension == "json")
                && let Some(name) = path.file_stem().and_then(|name| name.to_str())
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        let mut all = Vec::new();
        for name in names {
            all.extend(self.versions(&name)?);
        }
        Ok(all)
    }

    /// Returns the snapshots that the Dockerfiles of all of them see: to be kept.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub(crate) fn contexts(&self) -> Result<Vec<Digest>, RegisterError> {
        let all = self.list()?;
        Ok(all.iter().filter_map(|one| one.definition.environment.build_context()).collect())
    }

    /// Takes a name back, for one version or for all. Returns how many there were.
    ///
    /// # Errors
    ///
    /// The file cannot be read or changed.
    pub(crate) fn remove(&self, name: &str, version: Option<&str>) -> Result<usize, RegisterError> {
        if check_characters(name).is_err() || !self.directory.exists() {
            return Ok(0);
        }
        let _lock = self.lock()?;
        let versions = self.versions(name)?;
        let count = versions.len();
        let goes = |known: &Registered| version.is_none_or(|version| known.version == version);
        let stay: Vec<_> = versions.into_iter().filter(|known| !goes(known)).collect();
        let removed = count - stay.len();
        if removed > 0 && stay.is_empty() {
            let path = self.file(name);
            std::fs::remove_file(&path).context("remove", &path)?;
        } else if removed > 0 {
            self.write(name, stay)?;
        }
        Ok(removed)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }

    fn versions(&self, name: &str) -> Result<Vec<Registered>, RegisterError> {
        let path = self.file(name);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            bytes => bytes.context("read", &path)?,
        };
        let damaged = |source| RegisterError::Damaged { path: path.clone(), source };
        let document: Document = serde_json::from_slice(&bytes).map_err(damaged)?;
        if document.schema_version != SCHEMA_VERSION {
            return Err(RegisterError::Newer { path, version: document.schema_version });
        }
        Ok(document.versions)
    }

    /// The file is there whole or not at all.
    fn write(&self, name: &str, versions: Vec<Registered>) -> Result<(), PathError> {
        let path = self.file(name);
        let document = Document { schema_version: SCHEMA_VERSION, versions };
        let json = serde_json::to_vec_pretty(&document).context("encode", &path)?;
        let mut file =
            tempfile::NamedTempFile::new_in(&self.directory).context("write", &self.directory)?;
        file.write_all(&json).context("write", &path)?;
        file.as_file().sync_all().context("write", &path)?;
        file.persist(&path).map_err(|error| error.error).context("write", &path)?;
        sync(&self.directory)
    }

    /// Two that register at once go one after the other.
    fn lock(&self) -> Result<File, PathError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .context("create", &self.directory)?;
        let path = self.directory.join(".lock");
        let file = File::options().create(true).append(true).open(&path).context("open", &path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
            .map_err(io::Error::from)
            .context("lock", &path)?;
        Ok(file)
    }
}

fn sync(directory: &Path) -> Result<(), PathError> {
    File::open(directory).and_then(|file| file.sync_all()).context("sync", directory)
}

fn next_version(versions: &[Registered]) -> String {
    let numbers = versions.iter().filter_map(|known| known.version.parse::<u64>().ok());
    numbers.max().unwrap_or(0).saturating_add(1).to_string()
}

fn check_name(name: &str) -> Result<(), RegisterError> {
    check_characters(name)?;
    let lower = name.to_ascii_lowercase();
    if RESERVED.iter().any(|reserved| lower.starts_with(reserved)) {
        return Err(RegisterError::Reserved { name: name.to_owned() });
    }
    Ok(())
}

fn check_version(version: &str) -> Result<(), RegisterError> {
    if version == "latest" {
        return Err(RegisterError::Name { name: version.to_owned() });
    }
    check_characters(version)
}

/// A name is a file's too, so that is what it is made of.
fn check_characters(name: &str) -> Result<(), RegisterError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let fits = (1..=NAME_LENGTH - ".json".len()).contains(&name.len())
        && name.bytes().all(plain)
        && name.as_bytes()[0].is_ascii_alphanumeric();
    if fits { Ok(()) } else { Err(RegisterError::Name { name: name.to_owned() }) }
}

#[cfg(test)]
mod tests;
