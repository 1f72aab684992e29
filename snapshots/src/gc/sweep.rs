//! Removing, under the store's exclusive lock.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::plan::{Plan, PlannedPack};
use super::{Collected, is_live};
use crate::store::StoreError;
use crate::store::local::{LocalStore, Pack, Reach};

/// Carries out what is still right of the plan.
pub(super) fn sweep(
    store: &LocalStore,
    plan: Plan,
    live: &Reach,
    collected: &mut Collected,
) -> Result<(), StoreError> {
    let untouched = |path: &Path, then: SystemTime| {
        path.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|now| now == then)
    };
    let mut doomed: Vec<PlannedPack> = plan.packs;
    doomed.retain(|planned| untouched(planned.pack.path(), planned.modified));
    let names: HashSet<_> = doomed.iter().map(|planned| planned.pack.name().to_owned()).collect();
    let mut staying: Vec<Arc<Pack>> =
        store.packs().into_iter().filter(|pack| !names.contains(pack.name())).collect();
    for planned in doomed {
        if is_spared(store, &planned.pack, &staying, live) {
            staying.push(planned.pack);
            continue;
        }
        store.remove_pack(&planned.pack)?;
        collected.add_pack(&planned);
    }
    for object in plan.large {
        if !is_live(live, &object.digest) && untouched(&object.path, object.modified) {
            store.remove_large(&object.path)?;
            collected.objects += 1;
            collected.bytes += object.bytes;
        }
    }
    store.sweep_leftovers(live)
}

/// Returns whether a pack has a live object that no staying pack has. It came to life after the
/// plan was made, or could not be copied, which is no loss when it is known to be damaged.
fn is_spared(store: &LocalStore, pack: &Pack, staying: &[Arc<Pack>], live: &Reach) -> bool {
    pack.entries().any(|(digest, _)| {
        is_live(live, &digest)
            && !store.is_damaged(&digest)
            && !staying.iter().any(|other| other.has(&digest))
    })
}
