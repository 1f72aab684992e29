//! Keeps the disk from filling up: nothing starts while room is short, and what nothing refers to
//! goes. Runs and their logs are never removed for that.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::{info, warn};
use utoipa::ToSchema;

use super::shortage::{DiskPolicy, Room, Shortage};
use crate::agent::Agent;
use crate::api;
use crate::statistics::bytes_under;
use crate::store::RunSize;
use crate::task;

/// How often it is looked while there is room.
const LOOK: Duration = Duration::from_secs(60);

/// How often it is looked whether there is room again: that is one call of the system.
const LOOK_WHILE_SHORT: Duration = Duration::from_secs(2);

/// Says whether there is room for runs.
#[derive(Debug)]
pub(crate) struct Governor {
    home: PathBuf,
    policy: DiskPolicy,
    /// What was last counted: that costs a call a file.
    counted: Mutex<Room>,
    /// What runs that are over take, once it was added up.
    runs: Mutex<Option<RunSize>>,
    crossed: Notify,
    /// A run ended, or one that had ended went.
    pub(crate) runs_changed: Notify,
}

/// The disk, and what the agent may take of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DiskReport {
    /// Bytes of the file system of the state directory.
    pub(crate) total_bytes: u64,
    /// Bytes of it that are free.
    pub(crate) free_bytes: u64,
    /// Bytes of it that are to stay free.
    pub(crate) min_free_bytes: u64,
    /// What all object stores may take, where there is a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_object_bytes: Option<u64>,
    /// What built environments may take, where there is a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_environment_bytes: Option<u64>,
    /// What the directories of runs that are over take, as counted when they ended.
    #[serde(default)]
    pub(crate) run_bytes: u64,
    /// What they may take, where there is a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_run_bytes: Option<u64>,
    /// Of that, what their scripts printed.
    #[serde(default)]
    pub(crate) log_bytes: u64,
    /// What that may take, where there is a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_log_bytes: Option<u64>,
    /// Why no run starts, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shortage: Option<Shortage>,
}

impl Governor {
    /// Governs what is under `home`.
    pub(crate) fn new(home: PathBuf, policy: DiskPolicy) -> Self {
        Self {
            home,
            policy,
            counted: Mutex::default(),
            runs: Mutex::default(),
            crossed: Notify::new(),
            runs_changed: Notify::new(),
        }
    }

    /// Says what there is too little room for: free space as it is now, the rest as it was last
    /// counted.
    pub(crate) fn shortage(&self) -> Option<Shortage> {
        let free = self.space().map(|(free, _)| free);
        let counted = *self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        self.policy.shortage(&Room { free, runs: self.size_of_runs(), ..counted })
    }

    fn size_of_runs(&self) -> Option<RunSize> {
        *self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what runs that are over take; where that matters it is seen to soon.
    pub(crate) fn set_size_of_runs(&self, size: RunSize) {
        let before = self.shortage();
        *self.runs.lock().unwrap_or_else(PoisonError::into_inner) = Some(size);
        if self.shortage() != before {
            self.crossed.notify_one();
        }
    }

    /// Says whether no run may start now. Where that is so, it is seen to soon.
    pub(crate) fn holds_runs(&self) -> bool {
        let short = self.shortage().is_some();
        if short {
            self.crossed.notify_one();
        }
        short
    }

    /// Checks that there is room for what is handed in.
    ///
    /// # Errors
    ///
    /// There is not.
    pub(crate) fn has_room(&self) -> Result<(), Shortage> {
        self.shortage().filter(Shortage::refuses).map_or(Ok(()), Err)
    }

    /// Returns all that is known.
    pub(crate) fn report(&self) -> DiskReport {
        let (free_bytes, total_bytes) = self.space().unwrap_or_default();
        let runs = self.size_of_runs().unwrap_or_default();
        DiskReport {
            total_bytes,
            free_bytes,
            min_free_bytes: self.policy.min_free,
            max_object_bytes: self.policy.max_objects,
            max_environment_bytes: self.policy.max_environments,
            run_bytes: runs.bytes,
            max_run_bytes: self.policy.max_runs,
            log_bytes: runs.log_bytes,
            max_log_bytes: self.policy.max_logs,
            shortage: self.shortage(),
        }
    }

    /// Returns how many bytes are free, and how many there are; none where nobody can say.
    fn space(&self) -> Option<(u64, u64)> {
        let found = rustix::fs::statvfs(&self.home).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Some((bytes(found.f_bavail), bytes(found.f_blocks)))
    }
}

/// Looks by itself whether there is room, and makes some once there is not.
pub(crate) async fn govern(agent: Arc<Agent>) {
    let (mut counted, mut cleaned) = (None, None);
    let mut was_short = false;
    loop {
        if is_over(counted, LOOK) {
            count(&agent).await;
            counted = Some(Instant::now());
        }
        let mut shortage = agent.disk.shortage();
        if shortage.is_none() {
            cleaned = None;
        }
        let passed = cleaned.map(|last: Instant| last.elapsed());
        if let Some(short) = shortage.filter(|it| it.is_to_clean(passed)) {
            clean(&agent, short).await;
            count(&agent).await;
            (counted, cleaned) = (Some(Instant::now()), Some(Instant::now()));
            shortage = agent.disk.shortage();
        }
        if shortage.is_none() && was_short {
            info!("There is room on the disk again.");
        }
        if shortage.is_none() {
            // Who waits may have been held back since it was last looked.
            agent.scheduler.look().await;
        }
        was_short = shortage.is_some();
        if was_short {
            tokio::time::sleep(LOOK_WHILE_SHORT).await;
        } else {
            tokio::time::timeout(LOOK, agent.disk.crossed.notified()).await.ok();
        }
    }
}

fn is_over(last: Option<Instant>, every: Duration) -> bool {
    last.is_none_or(|last| last.elapsed() >= every)
}

/// Counts what has a limit.
async fn count(agent: &Arc<Agent>) {
    let counting = Arc::clone(agent);
    task::blocking(move || {
        let DiskPolicy { max_objects, max_environments, .. } = counting.disk.policy;
        let objects = max_objects.map(|_| {
            let directories = counting.objects.directories();
            directories.into_iter().map(bytes_under).sum()
        });
        let environments = max_environments.and_then(|_| {
            let entries = counting.environments.list();
            let entries = entries.inspect_err(|error| warn!(%error, "Cannot list environments."));
            Some(entries.ok()?.iter().map(|entry| entry.bytes).sum())
        });
        let counted = Room { objects, environments, ..Room::default() };
        *counting.disk.counted.lock().unwrap_or_else(PoisonError::into_inner) = counted;
    })
    .await;
}

async fn clean(agent: &Arc<Agent>, shortage: Shortage) {
    warn!("No run starts for want of disk space: {shortage}; removing what nothing refers to.");
    if let Err(error) = api::collect_garbage(agent).await {
        let error = anyhow::Error::from(error);
        warn!("Could not remove what nothing refers to: {error:#}");
    }
}
