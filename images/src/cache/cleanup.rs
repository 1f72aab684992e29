//! Which environments go when they take too much space: a decision about plain data.

use serde::{Deserialize, Serialize};

use super::{EnvironmentCache, EnvironmentEntry, EnvironmentError};

/// What would be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CleanupPlan {
    /// What all environments may take together.
    pub max_bytes: u64,
    /// What they take now.
    pub bytes: u64,
    /// Those to remove, the least recently used first.
    pub remove: Vec<EnvironmentEntry>,
    /// What is left then: more than the limit where those in use are too large.
    pub bytes_left: u64,
}

/// Decides what to remove so that `entries` take `max_bytes` or less: those that were not used for
/// longest, and never one that is in use.
#[must_use]
pub fn plan_cleanup(entries: &[EnvironmentEntry], max_bytes: u64) -> CleanupPlan {
    let bytes = entries.iter().map(|entry| entry.bytes).sum();
    let mut candidates: Vec<&EnvironmentEntry> =
        entries.iter().filter(|entry| !entry.in_use).collect();
    candidates.sort_by_key(|entry| (entry.last_used_time_utc, entry.key));
    let mut plan = CleanupPlan { max_bytes, bytes, remove: Vec::new(), bytes_left: bytes };
    for entry in candidates {
        if plan.bytes_left <= max_bytes {
            break;
        }
        plan.bytes_left = plan.bytes_left.saturating_sub(entry.bytes);
        plan.remove.push(entry.clone());
    }
    plan
}

impl EnvironmentCache {
    /// Says what would have to go for all environments to take `max_bytes` or less.
    ///
    /// # Errors
    ///
    /// The cache cannot be read.
    pub fn plan_cleanup(&self, max_bytes: u64) -> Result<CleanupPlan, EnvironmentError> {
        Ok(plan_cleanup(&self.list()?, max_bytes))
    }

    /// Removes what `plan` says and returns what was removed. What was used or built anew since the
    /// plan was made stays.
    ///
    /// # Errors
    ///
    /// The cache cannot be read or something in it cannot be removed; the rest of the plan is not
    /// tried then.
    pub fn clean_up(&self, plan: &CleanupPlan) -> Result<Vec<EnvironmentEntry>, EnvironmentError> {
        let mut removed = Vec::new();
        for planned in &plan.remove {
            let Some(record) = self.record(&planned.key)? else { continue };
            if self.entry(&record)? != *planned {
                continue;
            }
            match self.remove_record(&record) {
                Ok(entry) => removed.push(entry),
                Err(EnvironmentError::InUse { .. } | EnvironmentError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use snapshots::digest::Digest;

    fn entry(name: &str, bytes: u64, used: i64, in_use: bool) -> EnvironmentEntry {
        let time = |second| jiff::Timestamp::from_second(second).unwrap();
        EnvironmentEntry {
            key: Digest::of(name.as_bytes()).to_string().parse().unwrap(),
            kind: "requirements".to_owned(),
            definition: name.to_owned(),
            python_version: None,
            image: None,
            bytes,
            created_time_utc: time(0),
            last_used_time_utc: time(used),
            in_use,
            path: name.into(),
            log: name.into(),
            built_by: String::new(),
        }
    }

    #[test]
    fn the_least_recently_used_go_until_the_rest_fits_and_those_in_use_stay() {
        let entries = [
            entry("new", 40, 50, false),
            entry("old", 10, 10, false),
            entry("older-in-use", 30, 5, true),
            entry("middle", 20, 30, false),
        ];
        let goes = |max_bytes| {
            let plan = plan_cleanup(&entries, max_bytes);
            let names: Vec<String> = plan.remove.into_iter().map(|e| e.definition).collect();
            format!("{max_bytes}: {} leaves {}", names.join(" "), plan.bytes_left)
        };

        let told: Vec<String> = [100, 99, 90, 89, 29, 0].into_iter().map(goes).collect();

        insta::assert_snapshot!(told.join("\n"), @r"
        100:  leaves 100
        99: old leaves 90
        90: old leaves 90
        89: old middle leaves 70
        29: old middle new leaves 30
        0: old middle new leaves 30
        ");
    }
}
