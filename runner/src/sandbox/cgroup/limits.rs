//! What a run may use, and the files of a cgroup that say so. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::hierarchy::{Controller, Version};
use crate::run_configuration::Resources;

/// Microseconds over which processor time is given out: the kernel's default.
const PERIOD: f64 = 100_000.0;

/// Limits on a run outside of a container; `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProcessLimits {
    /// Bytes of memory, and of memory and swap together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processor cores, in fractions too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
}

/// Something that is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limited {
    /// Memory.
    Memory,
    /// What does not fit into memory.
    Swap,
    /// Processor time.
    Cpu,
    /// Processes and threads.
    Pids,
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Swap => "swap",
            Self::Cpu => "processor time",
            Self::Pids => "processes",
        })
    }
}

/// A file of a cgroup with what is to be written into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) limits: Limited,
    pub(super) file: &'static str,
    pub(super) text: String,
}

impl ProcessLimits {
    /// Returns those of `resources` that a run outside of a container has; `None` without any.
    #[must_use]
    pub fn of(resources: &Resources) -> Option<Self> {
        let Resources { cpus, memory_bytes, pids, .. } = *resources;
        let limits = Self { memory_bytes, cpus, pids };
        (limits != Self::default()).then_some(limits)
    }

    /// Returns the controllers that these need.
    pub(super) fn needs(&self) -> Vec<Controller> {
        let asked = |controller: &Controller| match controller {
            Controller::Memory => self.memory_bytes.is_some(),
            Controller::Cpu => self.cpus.is_some(),
            Controller::Pids => self.pids.is_some(),
        };
        Controller::ALL.into_iter().filter(asked).collect()
    }

    /// Returns what to write, in this order, into a cgroup that has `controller`.
    pub(super) fn settings(&self, controller: Controller, version: Version) -> Vec<Setting> {
        let setting = |limits, file, text| Setting { limits, file, text };
        match controller {
            Controller::Memory => {
                let Some(bytes) = self.memory_bytes.map(|bytes| bytes.to_string()) else {
                    return Vec::new();
                };
                // Version 1 limits both together, which may not be less than memory alone.
                let (memory, swap, text) = match version {
                    Version::V1 => {
                        ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", bytes.clone())
                    }
                    Version::V2 => ("memory.max", "memory.swap.max", "0".to_owned()),
                };
                vec![setting(Limited::Memory, memory, bytes), setting(Limited::Swap, swap, text)]
            }
            Controller::Cpu => {
                let Some(cpus) = self.cpus else { return Vec::new() };
                let quota = format!("{:.0}", cpus * PERIOD);
                vec![match version {
                    Version::V1 => setting(Limited::Cpu, "cpu.cfs_quota_us", quota),
                    Version::V2 => setting(Limited::Cpu, "cpu.max", format!("{quota} {PERIOD:.0}")),
                }]
            }
            Controller::Pids => {
                let pids = self.pids.into_iter();
                pids.map(|pids| setting(Limited::Pids, "pids.max", pids.to_string())).collect()
            }
        }
    }

    /// Returns all that would be written for these.
    pub(super) fn limited(&self) -> Vec<Limited> {
        let settings = Controller::ALL.into_iter().flat_map(|it| self.settings(it, Version::V2));
        settings.map(|setting| setting.limits).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(limits: &ProcessLimits) -> String {
        let mut text = String::new();
        for version in [Version::V1, Version::V2] {
            for controller in Controller::ALL {
                for Setting { limits, file, text: value } in limits.settings(controller, version) {
                    text += &format!("{version:?} {file} = {value} ({limits})\n");
                }
            }
        }
        text
    }

    #[test]
    fn a_limit_is_a_file_of_its_controller() {
        let all =
            ProcessLimits { memory_bytes: Some(64 << 20), cpus: Some(1.25), pids: Some(4096) };

        insta::assert_snapshot!(shown(&all), @"
        V1 memory.limit_in_bytes = 67108864 (memory)
        V1 memory.memsw.limit_in_bytes = 67108864 (swap)
        V1 cpu.cfs_quota_us = 125000 (processor time)
        V1 pids.max = 4096 (processes)
        V2 memory.max = 67108864 (memory)
        V2 memory.swap.max = 0 (swap)
        V2 cpu.max = 125000 100000 (processor time)
        V2 pids.max = 4096 (processes)
        ");
        assert_eq!(all.needs(), Controller::ALL);
        let limited = [Limited::Memory, Limited::Swap, Limited::Cpu, Limited::Pids];
        assert_eq!(all.limited(), limited);
    }

    #[test]
    fn what_is_not_limited_is_not_written() {
        assert_eq!(shown(&ProcessLimits::default()), "");
        assert!(ProcessLimits::default().needs().is_empty());
        assert_eq!(ProcessLimits::of(&Resources::default()), None);
        let pids = Resources { pids: Some(7), gpus: Some(1), ..Resources::default() };
        let limits = ProcessLimits::of(&pids).unwrap();
        assert_eq!(limits.needs(), [Controller::Pids]);
        assert_eq!(serde_json::to_string(&limits).unwrap(), r#"{"pids":7}"#);
    }
}
