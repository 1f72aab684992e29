//! What builds keep for later builds beside the environments: tools that were fetched, and the
//! packages that conda environments are made of.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use snapshots::path_error::{IoContext, PathError};

use super::lock::{self, Locked};
use super::{EnvironmentCache, EnvironmentError, record};

/// One thing that was kept, as `uv` or `conda`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    /// Its name in the directory of the tools.
    pub name: String,
    /// Disk space that it alone takes: not that of files which environments have as well.
    pub bytes: u64,
    /// When a build last used it.
    pub last_used_time_utc: Timestamp,
}

/// What became of the tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolCleanup {
    /// Those that went, or would.
    pub removed: Vec<Tool>,
    /// What the others take.
    pub bytes_left: u64,
}

impl EnvironmentCache {
    /// Removes the tools that no build used for `age`, or only says which; none while something is
    /// built. A build that misses one fetches it again. No environment needs one to be used.
    ///
    /// # Errors
    ///
    /// The cache cannot be read or something in it cannot be removed.
    pub fn clean_up_tools(
        &self,
        age: Duration,
        dry_run: bool,
    ) -> Result<ToolCleanup, EnvironmentError> {
        let directory = self.tools();
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
            entries => entries.context("read", &directory)?,
        };
        let alone = lock::try_lock(&self.tools_lock())?;
        let mut cleanup = ToolCleanup::default();
        for entry in entries {
            let path = entry.context("read", &directory)?.path();
            let (bytes, used) = (own_bytes(&path)?, last_used(&path)?);
            let is_old = SystemTime::now().duration_since(used).is_ok_and(|passed| passed >= age);
            if alone.is_none() || !is_old {
                cleanup.bytes_left += bytes;
                continue;
            }
            if !dry_run {
                remove(&path)?;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let last_used_time_utc = Timestamp::try_from(used).unwrap_or(Timestamp::UNIX_EPOCH);
            cleanup.removed.push(Tool { name, bytes, last_used_time_utc });
        }
        cleanup.removed.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(cleanup)
    }

    /// Keeps the tools from being removed while something is built.
    pub(super) fn lease_tools(&self) -> Result<Locked, PathError> {
        let path = self.tools_lock();
        loop {
            File::options().append(true).create(true).open(&path).context("open", &path)?;
            if let Some(lock) = lock::lock_shared(&path)? {
                return Ok(lock);
            }
        }
    }

    /// Returns where tools are kept.
    pub(super) fn tools(&self) -> PathBuf {
        self.directory.join("tools")
    }

    fn tools_lock(&self) -> PathBuf {
        self.directory.join("tools.lock")
    }
}

fn last_used(path: &Path) -> Result<SystemTime, PathError> {
    fs::symlink_metadata(path).and_then(|data| data.modified()).context("read", path)
}

/// Returns the disk space of what has no other name elsewhere.
fn own_bytes(path: &Path) -> Result<u64, PathError> {
    let mut bytes = 0;
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let data = fs::symlink_metadata(&path).context("read", &path)?;
        if data.is_dir() {
            for entry in fs::read_dir(&path).context("read", &path)? {
                open.push(entry.context("read", &path)?.path());
            }
        }
        if data.is_dir() || data.nlink() == 1 {
            bytes += data.blocks() * 512;
        }
    }
    Ok(bytes)
}

fn remove(path: &Path) -> Result<(), PathError> {
    if fs::symlink_metadata(path).context("read", path)?.is_dir() {
        record::remove_directory(path)
    } else {
        record::remove_file(path)
    }
}
