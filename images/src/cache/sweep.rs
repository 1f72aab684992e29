//! Clearing away what crashed builds and interrupted removals left behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use snapshots::path_error::{IoContext, PathError};

use super::leftover_processes;
use super::lock;
use super::record::{self, Building, Failure, Names, Record};
use crate::key::EnvironmentKey;

/// How long the log of a failed build is kept.
const FAILURE_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How old an unfinished file has to be for nobody to be writing it.
const TEMPORARY_AGE: Duration = Duration::from_secs(3600);

/// Removes the left-overs of all keys that nobody is busy with. Returns how many directories.
pub(super) fn all(cache: &Path) -> Result<u64, PathError> {
    let mut keys = BTreeSet::new();
    for entry in fs::read_dir(cache).context("read", cache)? {
        let name = entry.context("read", cache)?.file_name().to_string_lossy().into_owned();
        if name.starts_with(record::TEMPORARY) {
            remove_old(&cache.join(&name), TEMPORARY_AGE)?;
        }
        keys.extend(key_of(&name));
    }
    let mut removed = 0;
    for key in &keys {
        let names = Names { cache, key };
        let Some(_lock) = lock::try_lock(&names.lock())? else { continue };
        removed += leftovers_of(&names)?;
        remove_old(&names.failure(), FAILURE_AGE)?;
        if !names.record().exists() && !names.failure().exists() {
            record::remove_file(&names.lease())?;
            record::remove_file(&names.lock())?;
        }
    }
    Ok(removed)
}

/// Removes what belongs to the key and to no record of it. The key's lock has to be held.
pub(super) fn leftovers_of(names: &Names<'_>) -> Result<u64, PathError> {
    if let Some(building) = record::read::<Building>(&names.building())? {
        // Its owner is dead, or the lock would be taken; what it started may live.
        leftover_processes::kill_all(&building.directory);
    }
    let finished = record::read::<Record>(&names.record())?.map(|record| record.directory);
    let failed = record::read::<Failure>(&names.failure())?.map(|failure| failure.directory);
    let mut removed = 0;
    let start = format!("{}-", names.key);
    for entry in fs::read_dir(names.cache).context("read", names.cache)? {
        let entry = entry.context("read", names.cache)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(&start) {
            continue;
        }
        let build = name.strip_suffix(".log");
        let owner = Some(build.unwrap_or(&name));
        if owner == finished.as_deref() || build.is_some() && owner == failed.as_deref() {
            continue;
        }
        if build.is_some() {
            record::remove_file(&entry.path())?;
        } else {
            // A damaged environment that was built anew may be in use still.
            if lock::try_lock(&names.lease())?.is_none() {
                continue;
            }
            record::remove_directory(&entry.path())?;
            removed += 1;
        }
    }
    record::remove_file(&names.building())?;
    Ok(removed)
}

fn key_of(name: &str) -> Option<EnvironmentKey> {
    name.get(..64).filter(|_| name[64..].starts_with(['.', '-']))?.parse().ok()
}

fn remove_old(path: &Path, age: Duration) -> Result<(), PathError> {
    let modified = fs::symlink_metadata(path).and_then(|data| data.modified());
    let old = modified
        .is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|passed| passed > age));
    if old { record::remove_file(path) } else { Ok(()) }
}
