//! Frees the objects that nothing refers to.
//!
//! Mark and sweep: what the given roots, the kept, the held and the young records refer to is live.
//! A pack of which nothing is live is removed; one that is mostly dead, and small packs when there
//! are many, are rewritten without what is dead, compressed where that pays. The rest stays: a few
//! dead bytes in a pack cost less than moving its live ones.
//!
//! Everything that takes long happens beside readers and writers: marking, and writing the new
//! packs, which are complete and durable before anything is removed. Removal happens under the
//! store's exclusive lock, after a second look at records and time stamps; why that never takes
//! what a writer relies on is argued in [`crate::store::local`]. Records go before packs, so a
//! crash at any point leaves no record without its objects, only some dead bytes for next time.

mod plan;
mod rewrite;
mod sweep;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use self::plan::Plan;
use crate::digest::Digest;
use crate::path_error::IoContext;
use crate::snapshot::SnapshotRecord;
use crate::store::StoreError;
use crate::store::local::{LocalStore, Reach};

/// How long writers are waited for before removing.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was removed, or with a dry run would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// How many objects.
    pub objects: u64,
    /// The bytes they took in the store.
    pub bytes: u64,
    /// How many packs went as a whole.
    pub packs_removed: u64,
    /// How many packs were rewritten, several into one.
    pub packs_rewritten: u64,
    /// How many records of snapshots went.
    pub records_removed: u64,
    /// Live trees that are missing or damaged: what they refer to may have been removed.
    pub damaged: Vec<Digest>,
}

/// Removes what neither `roots`, nor kept or held records, nor records and objects younger than
/// `grace` need; with `dry_run` only says what that would be.
///
/// # Errors
///
/// [`StoreError::Busy`]: somebody wrote all the time. [`StoreError::Path`]: the store cannot be
/// read or written. Nothing live is lost in either case; try again.
pub fn collect(
    store: &LocalStore,
    roots: &[Digest],
    grace: Duration,
    dry_run: bool,
) -> Result<Collected, StoreError> {
    collect_within(store, roots, grace, dry_run, PATIENCE)
}

fn collect_within(
    store: &LocalStore,
    roots: &[Digest],
    grace: Duration,
    dry_run: bool,
    patience: Duration,
) -> Result<Collected, StoreError> {
    let lease = store.lease()?;
    store.refresh()?;
    let mut records = Records::look(store, roots, grace, store.held(false)?)?;
    let mut live = store.reach(roots.iter().chain(&records.needed).copied())?;
    let plan = Plan::of(store, &live, grace)?;
    if dry_run {
        return Ok(plan.collected(records.unneeded.len(), live.unreadable().to_vec()));
    }
    rewrite::rewrite(store, &plan, &live)?;
    drop(lease);

    let exclusive = store.exclusive(patience)?;
    store.refresh()?;
    records = Records::look(store, roots, grace, store.held(true)?)?;
    for id in &records.needed {
        live.add(store, *id)?;
    }
    let mut collected = Collected::default();
    for id in &records.unneeded {
        collected.records_removed += u64::from(store.remove_record(id)?);
    }
    sweep::sweep(store, plan, &live, &mut collected)?;
    collected.damaged = live.unreadable().to_vec();
    store.refresh()?;
    drop(exclusive);
    Ok(collected)
}

/// Which records stay.
struct Records {
    needed: BTreeSet<Digest>,
    unneeded: BTreeSet<Digest>,
}

impl Records {
    fn look(
        store: &LocalStore,
        roots: &[Digest],
        grace: Duration,
        held: BTreeSet<Digest>,
    ) -> Result<Self, StoreError> {
        let mut records = Self { needed: BTreeSet::new(), unneeded: BTreeSet::new() };
        for SnapshotRecord { id, kept, .. } in store.records()? {
            // Not when it was first taken: taking it again, or sending it, makes it young.
            let path = store.record_path(&id);
            let modified = match path.metadata().and_then(|data| data.modified()) {
                // Somebody has removed it since it was listed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                other => other.context("read", path)?,
            };
            let in_use = roots.contains(&id) || held.contains(&id);
            let stays = kept || in_use || is_young(modified, grace);
            if stays {
                records.needed.insert(id)
            } else {
                records.unneeded.insert(id)
            };
        }
        Ok(records)
    }
}

/// Returns whether a time stamp is within the grace age, or in the future.
fn is_young(modified: SystemTime, grace: Duration) -> bool {
    SystemTime::now().duration_since(modified).map_or(true, |age| age < grace)
}

/// Returns whether an object is needed.
fn is_live(live: &Reach, digest: &Digest) -> bool {
    live.contains(digest)
}
