//! Removing what nobody needs: of a [`RemoteHome`], never outside of it, and following no link.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use images::cache::plan_cleanup;
use jiff::{SignedDuration, Timestamp};
use snapshots::digest::Digest;
use snapshots::gc;
use snapshots::path_error::{IoContext as _, PathError};

use super::files::RemoteHome;
use super::message::{Cleaned, Cleaning, Purged, Refusal};
use super::run::{Outcome, RemoteRun};
use super::workshop::Workshop;
use crate::compute_target::{ComputeTarget as _, SupervisorState, TargetError};
use crate::run_directory::RunDirectory;
use crate::run_id::RunId;

/// What was used so lately stays, whatever its size: it may be on its way into a run.
const GRACE: Duration = Duration::from_secs(60 * 60);

/// Removes what nobody needs.
pub(super) fn clean(
    home: &RemoteHome,
    workshop: &Workshop,
    wanted: &Cleaning,
) -> Result<Cleaned, Refusal> {
    let mut cleaned = Cleaned::default();
    let mut needed = BTreeSet::new();
    let old = Duration::from_secs(wanted.runs_older_seconds).max(GRACE);
    for (id, run) in runs(home)? {
        // The age comes last: one that was lost ends only when it is settled.
        let may_go = !wanted.keep.contains(&id) && is_over(workshop, &run, !wanted.dry_run)?;
        if may_go && age(run.directory.path())? >= old {
            let bytes = size(run.directory.path())?;
            if wanted.dry_run || remove_if_over(home, workshop, &id, &run)? {
                cleaned.runs += 1;
                cleaned.run_bytes += bytes;
            }
        } else if let Some(needs) = run.needs()? {
            needed.insert(needs.snapshot);
            needed.extend(needs.environment.build_context());
        }
    }
    if !wanted.dry_run {
        remove_halves(home)?;
    }
    clean_programs(home, wanted.dry_run, &mut cleaned)?;
    let needed: Vec<Digest> = needed.into_iter().collect();
    collect(workshop, &needed, old, wanted.dry_run, &mut cleaned)?;
    if let Some(most) = wanted.max_bytes {
        fit(home, workshop, &needed, most, wanted.dry_run, &mut cleaned)?;
    }
    Ok(cleaned)
}

/// Removes objects, then environments, until they take no more than `most` bytes.
fn fit(
    home: &RemoteHome,
    workshop: &Workshop,
    needed: &[Digest],
    most: u64,
    dry_run: bool,
    cleaned: &mut Cleaned,
) -> Result<(), Refusal> {
    let mut entries = workshop.environments.list()?;
    let built: u64 = entries.iter().map(|entry| entry.bytes).sum();
    if size(&home.store())? + built > most && !dry_run {
        collect(workshop, needed, GRACE, dry_run, cleaned)?;
    }
    let young = Timestamp::now().checked_sub(SignedDuration::from_hours(1));
    for entry in &mut entries {
        entry.in_use |= young.as_ref().is_ok_and(|young| entry.last_used_time_utc > *young);
    }
    let objects = size(&home.store())?;
    let plan = plan_cleanup(&entries, most.saturating_sub(objects));
    let removed = if dry_run { plan.remove } else { workshop.environments.clean_up(&plan)? };
    cleaned.environments += removed.len() as u64;
    cleaned.environment_bytes += removed.iter().map(|entry| entry.bytes).sum::<u64>();
    Ok(())
}

fn collect(
    workshop: &Workshop,
    needed: &[Digest],
    grace: Duration,
    dry_run: bool,
    cleaned: &mut Cleaned,
) -> Result<(), Refusal> {
    let collected = gc::collect(&workshop.objects, needed, grace, dry_run)?;
    cleaned.objects += collected.objects;
    cleaned.object_bytes += collected.bytes;
    Ok(())
}

/// Removes everything, if no run of another owner than `owner` is there and nothing is on; else
/// the runs of `owner` that are over.
pub(super) fn purge(
    home: &RemoteHome,
    workshop: &Workshop,
    owner: &str,
) -> Result<Purged, Refusal> {
    let mut bytes = 0;
    let mut whole = true;
    for (id, run) in runs(home)? {
        let ours = run.owner()?.is_none_or(|theirs| theirs == owner);
        if ours && !is_supervised(workshop, &run)? {
            let _alone = run.lock()?;
            run.end_preparation()?;
            bytes += size(run.directory.path())?;
            remove_run(home, &id, &run)?;
        } else {
            whole = false;
        }
    }
    remove_halves(home)?;
    if whole {
        // Images go from their engine; what it does not answer about stays there.
        let plan = plan_cleanup(&workshop.environments.list()?, 0);
        if let Err(error) = workshop.environments.clean_up(&plan) {
            tracing::warn!(%error, "Could not remove all that was built.");
        }
        let ours = [home.runs(), home.store(), home.environments(), home.programs()];
        for path in ours.iter().chain([&home.machine_id()]) {
            bytes += size(path)?;
            remove(path)?;
        }
        // Whatever else is there is not ours.
        whole = match fs::remove_dir(home.path()) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => false,
            Err(error) => return Err(error).context("remove", home.path()).map_err(Refusal::from),
        };
    }
    Ok(Purged { home: home.path().to_owned(), whole, bytes })
}

/// Removes a run, unless somebody has started it meanwhile. Says whether it is gone.
fn remove_if_over(
    home: &RemoteHome,
    workshop: &Workshop,
    id: &RunId,
    run: &RemoteRun,
) -> Result<bool, Refusal> {
    let _alone = run.lock()?;
    let over = is_over(workshop, run, false)?;
    if over {
        remove_run(home, id, run)?;
    }
    Ok(over)
}

/// Removes the directory of a run that is over. It is renamed first, so that nobody finds half of
/// it.
pub(super) fn remove_run(home: &RemoteHome, id: &RunId, run: &RemoteRun) -> Result<(), PathError> {
    let gone = home.runs().join(format!("{GONE}{:08x}-{id}", rand::random::<u32>()));
    // A name has 255 bytes; the id may have all of them.
    let gone = if id.as_str().len() > 200 { gone.with_file_name(short_name()) } else { gone };
    match fs::rename(run.directory.path(), &gone) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed.context("rename", run.directory.path())?,
    }
    RunDirectory::new(gone).remove()
}

/// What begins the name of a run directory on its way out.
const GONE: &str = ".gone-";

fn short_name() -> String {
    format!("{GONE}{:016x}", rand::random::<u64>())
}

/// Removes the rest of run directories whose removal was broken off.
fn remove_halves(home: &RemoteHome) -> Result<(), PathError> {
    for entry in entries(&home.runs())? {
        if entry.file_name().as_encoded_bytes().starts_with(GONE.as_bytes()) {
            RunDirectory::new(entry.path()).remove()?;
        }
    }
    Ok(())
}

/// Lists the runs that are there.
fn runs(home: &RemoteHome) -> Result<Vec<(RunId, RemoteRun)>, PathError> {
    let mut runs = Vec::new();
    for entry in entries(&home.runs())? {
        let id = entry.file_name().to_str().and_then(|name| name.parse::<RunId>().ok());
        let is_directory = entry.file_type().context("look at", entry.path())?.is_dir();
        if let Some(id) = id.filter(|_| is_directory) {
            let run = RemoteRun::new(home.run(&id));
            runs.push((id, run));
        }
    }
    Ok(runs)
}

/// Says whether a run is on: whoever removes it has to settle it first.
fn is_supervised(workshop: &Workshop, run: &RemoteRun) -> Result<bool, TargetError> {
    let state = workshop.target.probe(&run.directory)?;
    Ok(matches!(state, SupervisorState::Running(_) | SupervisorState::Lost(_)))
}

/// Says whether nothing will happen to a run any more; one that was lost is if it can be settled,
/// as far as that is wanted.
fn is_over(workshop: &Workshop, run: &RemoteRun, settle: bool) -> Result<bool, TargetError> {
    Ok(match workshop.target.probe(&run.directory)? {
        SupervisorState::Ended(_) => true,
        SupervisorState::Running(_) => false,
        SupervisorState::Lost(_) => settle && workshop.target.settle(&run.directory).is_ok(),
        SupervisorState::NotStarted => match run.outcome()? {
            Some(Outcome::NotPrepared { .. }) => true,
            _ => !run.is_held()?,
        },
    })
}

/// Removes versions of this program that nobody runs, and what uploads of it left.
fn clean_programs(
    home: &RemoteHome,
    dry_run: bool,
    cleaned: &mut Cleaned,
) -> Result<(), PathError> {
    let running = running_programs()?;
    for entry in entries(&home.programs())? {
        let path = entry.path();
        let resolved = path.canonicalize().unwrap_or_else(|_| path.clone());
        let is_running = running.iter().any(|program| program.starts_with(&resolved));
        if is_running || age(&path)? < GRACE {
            continue;
        }
        cleaned.programs += 1;
        cleaned.program_bytes += size(&path)?;
        if !dry_run {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Lists what the processes that may be looked into execute.
fn running_programs() -> Result<Vec<PathBuf>, PathError> {
    let processes = entries(Path::new("/proc"))?;
    Ok(processes
        .iter()
        .filter_map(|process| fs::read_link(process.path().join("exe")).ok())
        .collect())
}

/// Lists a directory; one that is not there has nothing.
fn entries(directory: &Path) -> Result<Vec<DirEntry>, PathError> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect::<io::Result<_>>).context("list", directory),
    }
}

/// Returns how long nothing was made or removed in a directory, or written to a file.
fn age(path: &Path) -> Result<Duration, PathError> {
    let changed = fs::symlink_metadata(path).and_then(|found| found.modified());
    let changed = changed.context("look at", path)?;
    // A clock that was set back makes nothing old.
    Ok(SystemTime::now().duration_since(changed).unwrap_or(Duration::ZERO))
}

/// Returns how many bytes there are at `path`. Links are not followed, and what cannot be looked
/// into counts nothing.
fn size(path: &Path) -> Result<u64, PathError> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        found => found.context("look at", path)?,
    };
    if !found.is_dir() {
        return Ok(found.len());
    }
    let inside = match entries(path) {
        Err(error) if error.source.kind() == io::ErrorKind::PermissionDenied => return Ok(0),
        inside => inside?,
    };
    inside.iter().try_fold(0, |sum, entry| Ok(sum + size(&entry.path())?))
}

/// Removes what is at `path`; of a link, the link.
fn remove(path: &Path) -> Result<(), PathError> {
    let is_directory = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.context("look at", path)?.is_dir(),
    };
    if is_directory {
        RunDirectory::new(path).remove()
    } else {
        fs::remove_file(path).context("remove", path)
    }
}
