//! When there is too little room on the disk to start runs: a decision about plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::RunSize;
use crate::terminal::measure::size;

/// How long nothing is cleaned that was cleaned while room is short.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// The same for environments: the end of each run may have left one that is not in use.
const EVERY_ENVIRONMENT: Duration = Duration::from_secs(60);

/// What the agent may take of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskPolicy {
    /// How many bytes stay free on the file system of the state directory; 0 is none.
    pub(crate) min_free: u64,
    /// How many bytes all object stores may take.
    pub(crate) max_objects: Option<u64>,
    /// How many bytes built environments may take.
    pub(crate) max_environments: Option<u64>,
    /// How many bytes the directories of runs that are over may take.
    pub(crate) max_runs: Option<u64>,
    /// How many of these what scripts printed.
    pub(crate) max_logs: Option<u64>,
}

impl Default for DiskPolicy {
    fn default() -> Self {
        Self {
            min_free: 2 << 30,
            max_objects: None,
            max_environments: None,
            max_runs: None,
            max_logs: None,
        }
    }
}

/// What is taken, and what is free; none is not known, and short of nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes that are free on the file system of the state directory.
    pub(crate) free: Option<u64>,
    /// Bytes of all object stores.
    pub(crate) objects: Option<u64>,
    /// Bytes of built environments.
    pub(crate) environments: Option<u64>,
    /// Runs that are over.
    pub(crate) runs: Option<RunSize>,
}

/// Why no run starts for want of room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[serde(tag = "of", rename_all = "camelCase")]
pub(crate) enum Shortage {
    /// Less is free than is to stay free.
    #[error("{} free where {} are kept free", size(*free_bytes), size(*kept_bytes))]
    #[serde(rename_all = "camelCase")]
    Free {
        /// What is free on the file system of the state directory.
        free_bytes: u64,
        /// What is to stay free.
        kept_bytes: u64,
    },
    /// Objects take more than they may.
    #[error("objects take {} of the {} they may", size(*used_bytes), size(*most_bytes))]
    #[serde(rename_all = "camelCase")]
    Objects {
        /// What they take.
        used_bytes: u64,
        /// What they may take.
        most_bytes: u64,
    },
    /// Environments take more than they may.
    #[error("environments take {} of the {} they may", size(*used_bytes), size(*most_bytes))]
    #[serde(rename_all = "camelCase")]
    Environments {
        /// What they take.
        used_bytes: u64,
        /// What they may take.
        most_bytes: u64,
    },
    /// Runs that are over take more than they may.
    #[error("runs that are over take {} of the {} they may", size(*used_bytes), size(*most_bytes))]
    #[serde(rename_all = "camelCase")]
    Runs {
        /// What they take.
        used_bytes: u64,
        /// What they may take.
        most_bytes: u64,
    },
    /// Their logs do.
    #[error("logs take {} of the {} they may", size(*used_bytes), size(*most_bytes))]
    #[serde(rename_all = "camelCase")]
    Logs {
        /// What they take.
        used_bytes: u64,
        /// What they may take.
        most_bytes: u64,
    },
}

impl DiskPolicy {
    /// Says what there is too little room for, the worst first.
    pub(crate) fn shortage(&self, room: &Room) -> Option<Shortage> {
        let kept_bytes = self.min_free;
        if let Some(free_bytes) = room.free.filter(|free| *free < kept_bytes) {
            return Some(Shortage::Free { free_bytes, kept_bytes });
        }
        let over =
            |used: Option<u64>, most: Option<u64>| Some((used?, most?)).filter(|(u, m)| u > m);
        if let Some((used_bytes, most_bytes)) = over(room.objects, self.max_objects) {
            return Some(Shortage::Objects { used_bytes, most_bytes });
        }
        if let Some((used_bytes, most_bytes)) = over(room.environments, self.max_environments) {
            return Some(Shortage::Environments { used_bytes, most_bytes });
        }
        let runs = room.runs.map(|runs| runs.bytes);
        if let Some((used_bytes, most_bytes)) = over(runs, self.max_runs) {
            return Some(Shortage::Runs { used_bytes, most_bytes });
        }
        let logs = room.runs.map(|runs| runs.log_bytes);
        let (used_bytes, most_bytes) = over(logs, self.max_logs)?;
        Some(Shortage::Logs { used_bytes, most_bytes })
    }
}

impl Shortage {
    /// Says whether what is handed in would make it worse. Runs that wait take no environment and
    /// have left nothing.
    pub(crate) fn refuses(&self) -> bool {
        matches!(self, Self::Free { .. } | Self::Objects { .. })
    }

    /// Returns the command that shows what could go.
    pub(crate) fn shown_by(&self) -> &'static str {
        match self {
            Self::Runs { .. } | Self::Logs { .. } => "trainyard gc --older 30d --dry-run",
            _ => "trainyard gc --dry-run",
        }
    }

    /// Says whether to clean, so long after that was last done; none is never. Runs are not the
    /// agent's to remove.
    pub(crate) fn is_to_clean(&self, cleaned: Option<Duration>) -> bool {
        let every = match self {
            Self::Free { .. } | Self::Objects { .. } => EVERY,
            Self::Environments { .. } => EVERY_ENVIRONMENT,
            Self::Runs { .. } | Self::Logs { .. } => return false,
        };
        cleaned.is_none_or(|passed| passed >= every)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: DiskPolicy = DiskPolicy {
        min_free: 100,
        max_objects: Some(50),
        max_environments: Some(70),
        max_runs: Some(60),
        max_logs: Some(9),
    };

    fn told(policy: DiskPolicy, free: u64, objects: u64, environments: u64) -> String {
        with_runs(policy, [free, objects, environments], RunSize { bytes: 60, log_bytes: 9 })
    }

    fn with_runs(policy: DiskPolicy, room: [u64; 3], runs: RunSize) -> String {
        let [free, objects, environments] = room.map(Some);
        let room = Room { free, objects, environments, runs: Some(runs) };
        match policy.shortage(&room) {
            Some(shortage) if shortage.refuses() => format!("{shortage}; nothing is taken"),
            Some(shortage) => shortage.to_string(),
            None => "runs start".to_owned(),
        }
    }

    #[test]
    fn runs_start_until_something_is_over_its_limit() {
        let none = DiskPolicy {
            min_free: 0,
            max_objects: None,
            max_environments: None,
            max_runs: None,
            max_logs: None,
        };
        let runs =
            |bytes, log_bytes| with_runs(POLICY, [100, 50, 70], RunSize { bytes, log_bytes });
        let lines = [
            told(POLICY, 100, 50, 70),
            told(POLICY, 99, 51, 71),
            told(POLICY, 100, 51, 71),
            told(POLICY, 100, 50, 71),
            runs(61, 10),
            runs(60, 10),
            told(none, 0, u64::MAX, u64::MAX),
        ];
        insta::assert_snapshot!(lines.join("\n"), @"
        runs start
        99 B free where 100 B are kept free; nothing is taken
        objects take 51 B of the 50 B they may; nothing is taken
        environments take 71 B of the 70 B they may
        runs that are over take 61 B of the 60 B they may
        logs take 10 B of the 9 B they may
        runs start
        ");
        assert_eq!(POLICY.shortage(&Room::default()), None, "what is not known is not short");
    }

    #[test]
    fn it_is_cleaned_once_and_again_while_that_did_not_help() {
        let free = Shortage::Free { free_bytes: 1, kept_bytes: 2 };
        let environments = Shortage::Environments { used_bytes: 2, most_bytes: 1 };
        let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));

        for shortage in [free, environments] {
            assert!(shortage.is_to_clean(None));
            assert!(shortage.is_to_clean(minutes(60)));
        }
        assert!(!free.is_to_clean(minutes(59)));
        assert!(environments.is_to_clean(minutes(1)));
        assert!(!environments.is_to_clean(minutes(0)));
        let runs = Shortage::Runs { used_bytes: 2, most_bytes: 1 };
        assert!(!runs.is_to_clean(None), "runs are removed by people");
        assert_eq!(runs.shown_by(), "trainyard gc --older 30d --dry-run");
    }
}
