//! Clearing away what crashed builds, interrupted removals and replaced builds left behind.

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

/// Who removes images. False: it did not work now, and has to be tried again.
pub(super) trait Images {
    /// Removes the image `id`.
    fn remove(&self, id: &str) -> bool;
    /// Removes all images of `key` but those.
    fn remove_all_but(&self, key: &EnvironmentKey, keep: &[String]) -> bool;
}

/// Removes the left-overs of all keys that nobody is busy with. Returns how many directories.
pub(super) fn all(cache: &Path, images: &impl Images) -> Result<u64, PathError> {
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
        removed += leftovers_of(&names, images)?;
        remove_old(&names.failure(), FAILURE_AGE)?;
        let is_bare = !names.record().exists() && !names.failure().exists();
        if is_bare && names.builds()?.is_empty() {
            record::remove_file(&names.old_lease())?;
            record::remove_file(&names.lock())?;
        }
    }
    Ok(removed)
}

/// Removes what belongs to the key and to no record of it. The key's lock has to be held.
pub(super) fn leftovers_of(names: &Names<'_>, images: &impl Images) -> Result<u64, PathError> {
    let building = record::read::<Building>(&names.building())?;
    if let Some(building) = &building {
        // Its owner is dead, or the lock would be taken; what it started may live.
        leftover_processes::kill_all(&building.directory);
    }
    let finished = record::read::<Record>(&names.record())?.map(|record| record.directory);
    let failed = record::read::<Failure>(&names.failure())?.map(|failure| failure.directory);
    let mut removed = 0;
    let mut kept: Vec<String> = finished.iter().cloned().collect();
    for build in names.builds()? {
        if finished.as_ref() == Some(&build) {
            continue;
        }
        let keeps_log = failed.as_ref() == Some(&build);
        match remove_build(names, &build, keeps_log, images)? {
            Removed::Directory => removed += 1,
            Removed::Nothing => {}
            Removed::NotNow => kept.push(build),
        }
    }
    let is_clear = !building.is_some_and(|building| building.in_engine) || {
        let ids: Vec<String> =
            kept.iter().filter_map(|build| image_of(names.cache, build)).collect();
        images.remove_all_but(names.key, &ids)
    };
    if is_clear {
        record::remove_file(&names.building())?;
    }
    Ok(removed)
}

enum Removed {
    /// Its directory, and all that goes with it.
    Directory,
    /// It had no directory.
    Nothing,
    /// It is in use, or its image cannot be removed.
    NotNow,
}

/// Removes a build that no record names. One that was replaced may be in use still.
fn remove_build(
    names: &Names<'_>,
    build: &str,
    keeps_log: bool,
    images: &impl Images,
) -> Result<Removed, PathError> {
    let path = names.cache.join(build);
    let lease = names.lease(build);
    let is_shared = lease == names.old_lease();
    let mut removed = Removed::Nothing;
    if path.exists() {
        let Some(_lease) = lock::try_lock(&lease)? else { return Ok(Removed::NotNow) };
        if let Some(id) = own_image(names, build)?
            && !images.remove(&id)
        {
            return Ok(Removed::NotNow);
        }
        record::remove_directory(&path)?;
        removed = Removed::Directory;
    }
    if !keeps_log {
        record::remove_file(&record::log_file(names.cache, build))?;
    }
    if !is_shared {
        record::remove_file(&lease)?;
    }
    Ok(removed)
}

/// Returns the image of a build, unless another build has the very same: of the same layers, an
/// engine makes the same image.
pub(super) fn own_image(names: &Names<'_>, build: &str) -> Result<Option<String>, PathError> {
    let Some(id) = image_of(names.cache, build) else { return Ok(None) };
    let others = names.builds()?.into_iter().filter(|other| other != build);
    let is_shared =
        others.into_iter().any(|other| image_of(names.cache, &other).as_ref() == Some(&id));
    Ok((!is_shared).then_some(id))
}

fn image_of(cache: &Path, build: &str) -> Option<String> {
    let record = record::read::<Record>(&record::within(cache, build)).ok().flatten()?;
    record.image.map(|built| built.image.id)
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
