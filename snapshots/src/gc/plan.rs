//! What is to become of each pack and each large object.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Collected, is_live, is_young};
use crate::digest::Digest;
use crate::store::StoreError;
use crate::store::local::{LargeObject, LocalStore, Pack, Reach};

/// A pack under this size is a small one.
const SMALL_BYTES: u64 = 4 << 20;
/// So many small packs are rewritten into one.
const MANY_SMALL: usize = 16;

/// What was seen before anything was changed, and what follows from it.
pub(super) struct Plan {
    pub(super) packs: Vec<PlannedPack>,
    /// The large objects that are to go.
    pub(super) large: Vec<LargeObject>,
}

/// A pack that is to go.
pub(super) struct PlannedPack {
    pub(super) pack: Arc<Pack>,
    /// Its time stamp: another one later means that somebody was told of what is in it.
    pub(super) modified: SystemTime,
    pub(super) fate: Fate,
    pub(super) dead: Dead,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dead {
    pub(super) objects: u64,
    pub(super) bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stays,
    Removed,
    /// What is live in it is written to another pack first.
    Rewritten,
}

impl Plan {
    pub(super) fn of(
        store: &LocalStore,
        live: &Reach,
        grace: Duration,
    ) -> Result<Self, StoreError> {
        let mut packs = Vec::new();
        for (pack, modified) in store.packs_with_times()? {
            if is_young(modified, grace) {
                continue;
            }
            let mut dead = Dead::default();
            let mut live_bytes = 0;
            for (digest, at) in pack.entries() {
                let bytes = at.end() - at.offset;
                if is_live(live, &digest) {
                    live_bytes += bytes;
                } else {
                    dead.objects += 1;
                    dead.bytes += bytes;
                }
            }
            packs.push(PlannedPack { pack, modified, fate: fate(dead.bytes, live_bytes), dead });
        }
        merge_small(&mut packs);
        packs.retain(|planned| planned.fate != Fate::Stays);
        let mut large = Vec::new();
        for object in store.large_objects()? {
            if !is_young(object.modified, grace) && !is_live(live, &object.digest) {
                large.push(object);
            }
        }
        Ok(Self { packs, large })
    }

    /// Returns what carrying the plan out will have removed, if nobody comes between.
    pub(super) fn collected(&self, records: usize, damaged: Vec<Digest>) -> Collected {
        let mut collected =
            Collected { records_removed: records as u64, damaged, ..Collected::default() };
        for planned in &self.packs {
            collected.add_pack(planned);
        }
        for object in &self.large {
            collected.objects += 1;
            collected.bytes += object.bytes;
        }
        collected
    }
}

impl Collected {
    pub(super) fn add_pack(&mut self, planned: &PlannedPack) {
        self.objects += planned.dead.objects;
        self.bytes += planned.dead.bytes;
        match planned.fate {
            Fate::Stays => {}
            Fate::Removed => self.packs_removed += 1,
            Fate::Rewritten => self.packs_rewritten += 1,
        }
    }
}

fn fate(dead: u64, live: u64) -> Fate {
    match (dead, live) {
        (_, 0) => Fate::Removed,
        (dead, live) if dead > live => Fate::Rewritten,
        _ => Fate::Stays,
    }
}

/// Every pack costs each search and each opening of the store a little.
fn merge_small(packs: &mut [PlannedPack]) {
    let is_small =
        |planned: &PlannedPack| planned.fate == Fate::Stays && planned.pack.length() < SMALL_BYTES;
    if packs.iter().filter(|planned| is_small(planned)).count() >= MANY_SMALL {
        for planned in packs.iter_mut().filter(|planned| is_small(planned)) {
            planned.fate = Fate::Rewritten;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_goes_when_nothing_in_it_lives_and_is_rewritten_when_most_is_dead() {
        assert_eq!(fate(10, 0), Fate::Removed);
        assert_eq!(fate(0, 0), Fate::Removed);
        assert_eq!(fate(11, 10), Fate::Rewritten);
        assert_eq!(fate(10, 10), Fate::Stays);
        assert_eq!(fate(0, 10), Fate::Stays);
    }
}
