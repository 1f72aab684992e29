//! What was built, as lists and people see it.

use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use snapshots::path_error::IoContext;

use super::record::{self, Record};
use super::{EnvironmentCache, EnvironmentError, lock};
use crate::environment::{PreparedImage, RequirementsFile};
use crate::interpreter::InterpreterFacts;
use crate::key::{EnvironmentKey, KeyParts};

/// A built environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentEntry {
    /// What it is kept under.
    pub key: EnvironmentKey,
    /// What it was made from: `requirements`, `uvProject`, `conda` or `docker`.
    pub kind: String,
    /// The name of the definition, as `requirements.txt` or `Dockerfile + conda.yml`.
    pub definition: String,
    /// The version of its Python, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python_version: Option<String>,
    /// Its image, where it is a container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PreparedImage>,
    /// Disk space it takes, that of its image among it.
    pub bytes: u64,
    /// When it was finished.
    pub created_time_utc: Timestamp,
    /// When a run last asked for it.
    pub last_used_time_utc: Timestamp,
    /// Whether a run holds a lease on it now.
    pub in_use: bool,
    /// Its directory.
    pub path: PathBuf,
    /// The log of its build.
    pub log: PathBuf,
    /// What built it, with version: `uv 0.13.8` or `pip 24.0`.
    pub built_by: String,
}

/// A built environment with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentDetails {
    /// What a list shows.
    #[serde(flatten)]
    pub entry: EnvironmentEntry,
    /// What was installed when it was finished, as `pip freeze` and `conda list` say it.
    pub packages: Vec<String>,
    /// The interpreter it is based on, where it is based on one of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<InterpreterFacts>,
    /// The files it was made from.
    pub files: Vec<RequirementsFile>,
    /// What was resolved: files that build the same again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lock: Vec<RequirementsFile>,
    /// The text that its image was built by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// What its key is made of. Versions before 0.2 did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<KeyParts>,
}

impl EnvironmentCache {
    /// Lists what was built, the most recently used first.
    ///
    /// # Errors
    ///
    /// The cache cannot be read.
    pub fn list(&self) -> Result<Vec<EnvironmentEntry>, EnvironmentError> {
        let mut entries = Vec::new();
        for key in self.keys()? {
            // It may have been removed since.
            if let Some(record) = self.record(&key)? {
                entries.push(self.entry(&record)?);
            }
        }
        entries.sort_by(|a, b| (b.last_used_time_utc, &a.key).cmp(&(a.last_used_time_utc, &b.key)));
        Ok(entries)
    }

    /// Returns all that is known of the one environment whose key starts with `prefix`.
    ///
    /// # Errors
    ///
    /// None or several have such a key, or the cache cannot be read.
    pub fn show(&self, prefix: &str) -> Result<EnvironmentDetails, EnvironmentError> {
        let record = self.by_prefix(prefix)?;
        Ok(EnvironmentDetails {
            entry: self.entry(&record)?,
            packages: record.packages,
            base: record.base,
            files: record.files,
            lock: record.lock,
            dockerfile: record.image.map(|image| image.dockerfile),
            parts: record.parts,
        })
    }

    pub(super) fn by_prefix(&self, prefix: &str) -> Result<Record, EnvironmentError> {
        let not_found = || EnvironmentError::NotFound { prefix: prefix.to_owned() };
        let mut keys = self.keys()?;
        keys.retain(|key| !prefix.is_empty() && key.to_string().starts_with(prefix));
        match keys.as_slice() {
            [] => Err(not_found()),
            [key] => self.record(key)?.ok_or_else(not_found),
            several => Err(EnvironmentError::Ambiguous {
                prefix: prefix.to_owned(),
                candidates: several.iter().map(EnvironmentKey::short).collect(),
            }),
        }
    }

    pub(super) fn record(&self, key: &EnvironmentKey) -> Result<Option<Record>, EnvironmentError> {
        let path = self.names(key).record();
        let Some(value) = record::read::<serde_json::Value>(&path)? else { return Ok(None) };
        if value["version"].as_u64().is_some_and(|version| version > u64::from(record::VERSION)) {
            return Err(EnvironmentError::Newer { path });
        }
        let record = serde_json::from_value(value).ok().map(Record::upgraded);
        Ok(record.filter(|record: &Record| record.key == *key))
    }

    fn keys(&self) -> Result<Vec<EnvironmentKey>, EnvironmentError> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.directory).context("read", &self.directory)? {
            let name = entry.context("read", &self.directory)?.file_name();
            let key = name.to_str().and_then(|name| name.strip_suffix(".json"));
            keys.extend(key.and_then(|key| key.parse::<EnvironmentKey>().ok()));
        }
        keys.sort_unstable();
        Ok(keys)
    }

    pub(super) fn entry(&self, record: &Record) -> Result<EnvironmentEntry, EnvironmentError> {
        let lease = self.names(&record.key).lease(&record.directory);
        let used = fs::metadata(&lease).and_then(|data| data.modified()).ok();
        let used = used.and_then(|time| Timestamp::try_from(time).ok());
        Ok(EnvironmentEntry {
            key: record.key,
            kind: record.kind.clone(),
            definition: record.definition.clone(),
            python_version: record.python_version.clone(),
            image: record.image.as_ref().map(|built| built.image.clone()),
            bytes: record.bytes,
            created_time_utc: record.created_time_utc,
            last_used_time_utc: used.unwrap_or(record.created_time_utc),
            in_use: lock::try_lock(&lease)?.is_none(),
            path: self.directory.join(&record.directory),
            log: record::log_file(&self.directory, &record.directory),
            built_by: record.built_by.clone(),
        })
    }
}
