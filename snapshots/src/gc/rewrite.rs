//! Writing what is live in the packs that are to go into a new one.

use std::collections::HashSet;

use super::is_live;
use super::plan::{Fate, Plan};
use crate::store::StoreError;
use crate::store::local::{LocalStore, Reach};

/// Copies every live object, checked, and makes the copies durable. What is damaged is left
/// behind: the store remembers that it is, and takes it anew.
pub(super) fn rewrite(store: &LocalStore, plan: &Plan, live: &Reach) -> Result<(), StoreError> {
    let rewritten = plan.packs.iter().filter(|planned| planned.fate == Fate::Rewritten);
    let mut writer = store.writer()?;
    let mut copied = HashSet::new();
    for planned in rewritten {
        let mut entries: Vec<_> =
            planned.pack.entries().filter(|(digest, _)| is_live(live, digest)).collect();
        entries.sort_unstable_by_key(|(_, at)| at.offset);
        for (digest, _) in entries {
            if !copied.insert(digest) {
                continue;
            }
            match store.read(&digest) {
                Ok(bytes) => writer.put_again(digest, &bytes)?,
                Err(StoreError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    writer.commit().map(drop)
}
