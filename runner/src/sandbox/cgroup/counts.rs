//! What a cgroup has counted: the evidence of why a run ended.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::hierarchy::Version;

/// What the cgroups of a run counted; `None` where there is no such controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counts {
    /// How many processes of the run the kernel killed for want of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
    /// How often the run was at its own memory limit and nothing could be reclaimed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_hits: Option<u64>,
    /// How many processes or threads the limit kept from being started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids_limit_hits: Option<u64>,
}

/// The kernel gives memory out in batches, of which the last may not fit: 64 pages of up to 64 KiB.
const BATCH: u64 = 4 << 20;

/// Reads what the memory controller of `group` counted.
pub(super) fn of_memory(group: &Path, version: Version) -> Counts {
    let read = |name| fs::read_to_string(group.join(name)).unwrap_or_default();
    match version {
        Version::V1 => {
            let count = |name| read(name).trim().parse::<u64>().ok();
            // The limit on memory and swap together is the same, and met first.
            let hits = [count("memory.failcnt"), count("memory.memsw.failcnt")];
            let hits = hits.into_iter().flatten().reduce(u64::saturating_add);
            let most = count("memory.max_usage_in_bytes").zip(count("memory.limit_in_bytes"));
            let was_full = most.is_some_and(|(most, limit)| most.saturating_add(BATCH) >= limit);
            Counts {
                oom_kills: value_of("oom_kill", &read("memory.oom_control")),
                // Newer kernels, as 6.18, do not count them.
                memory_limit_hits: hits.map(|hits| hits.max(u64::from(was_full))),
                pids_limit_hits: None,
            }
        }
        Version::V2 => {
            let events = read("memory.events");
            Counts {
                oom_kills: value_of("oom_kill", &events),
                memory_limit_hits: value_of("oom", &events),
                pids_limit_hits: None,
            }
        }
    }
}

/// Reads how often `group` was at its limit of processes.
pub(super) fn pids_limit_hits(group: &Path) -> Option<u64> {
    value_of("max", &fs::read_to_string(group.join("pids.events")).unwrap_or_default())
}

/// Returns the number after `name` in lines of a name and a number each.
fn value_of(name: &str, text: &str) -> Option<u64> {
    let mut words = text.lines().filter_map(|line| line.split_once(' '));
    words.find(|(key, _)| *key == name).and_then(|(_, value)| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_the_files_of_either_version() {
        let group = tempfile::tempdir().unwrap();
        let put = |name, text| fs::write(group.path().join(name), text).unwrap();
        put("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
        put("memory.failcnt", "112\n");
        put("memory.memsw.failcnt", "3\n");
        put("memory.limit_in_bytes", "67108864\n");
        put("memory.max_usage_in_bytes", "50331648\n");
        put("memory.events", "low 0\nhigh 0\nmax 41\noom 2\noom_kill 1\noom_group_kill 0\n");
        put("pids.events", "max 8\n");

        let of = |version| {
            let counts = of_memory(group.path(), version);
            (counts.oom_kills, counts.memory_limit_hits)
        };
        assert_eq!(of(Version::V1), (Some(3), Some(115)));
        assert_eq!(of(Version::V2), (Some(1), Some(2)));
        assert_eq!(pids_limit_hits(group.path()), Some(8));

        put("memory.failcnt", "0\n");
        put("memory.memsw.failcnt", "0\n");
        assert_eq!(of(Version::V1), (Some(3), Some(0)), "the machine was out of memory");
        put("memory.max_usage_in_bytes", "67108864\n");
        assert_eq!(of(Version::V1), (Some(3), Some(1)));
    }

    #[test]
    fn what_a_kernel_does_not_count_is_not_known() {
        let group = tempfile::tempdir().unwrap();

        assert_eq!(of_memory(group.path(), Version::V2), Counts::default());
        // A kernel before 4.13 has no such line.
        fs::write(group.path().join("memory.oom_control"), "under_oom 0\n").unwrap();
        assert_eq!(of_memory(group.path(), Version::V1).oom_kills, None);
        assert_eq!(pids_limit_hits(group.path()), None);
    }
}
