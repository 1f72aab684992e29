//! What the agent has done since it started, counted: for monitoring and for people.

mod histogram;
pub(crate) mod prometheus;
mod usage;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use runner::exit_record::ExitReason;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use histogram::Histogram;
use usage::Usage;
pub(crate) use usage::bytes_under;

use crate::agent::Agent;
use crate::disk::governor::DiskReport;
use crate::run::status::RunStatus;
use crate::store::StoreError;
use crate::task;

/// The counters of a running agent. They begin at zero with each start, as those who read them
/// expect of counters.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    counts: Mutex<Counts>,
    usage: Usage,
}

/// What is counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counts {
    /// Runs that ended, by reason.
    pub(crate) ended: BTreeMap<String, u64>,
    /// Further attempts of runs, by the end that each was made after.
    #[serde(default)]
    pub(crate) tried_again: BTreeMap<String, u64>,
    /// Runs that were not over when the agent started, and were taken up.
    pub(crate) recovered: u64,
    /// How long runs waited until they had a place.
    pub(crate) queue_wait: Histogram,
    /// How long it took to lay out their source and make their environment ready.
    pub(crate) preparation: Histogram,
    /// Environments that were there already.
    pub(crate) environments_reused: u64,
    /// Environments that had to be built.
    pub(crate) environments_built: u64,
    /// Environments that could not be made ready.
    pub(crate) environments_failed: u64,
    /// Bytes of the snapshots that were sent over the socket, as they are in the source.
    pub(crate) snapshot_bytes: u64,
    /// Bytes of that which the agent lacked, so that they travelled.
    pub(crate) snapshot_bytes_received: u64,
}

/// Everything that is counted, at one moment.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatisticsReport {
    /// The version of this document.
    pub(crate) schema_version: u32,
    /// How many runs in the records stand where.
    pub(crate) runs: BTreeMap<String, u64>,
    /// What happened since the agent started.
    #[serde(flatten)]
    pub(crate) counts: Counts,
    /// What the object stores take on the disk.
    pub(crate) store_bytes: u64,
    /// What the environments take on the disk.
    pub(crate) environment_bytes: u64,
    /// What there is on the disk, and what may be taken of it.
    pub(crate) disk: DiskReport,
}

impl Statistics {
    /// A run ended.
    pub(crate) fn ended(&self, reason: ExitReason) {
        *self.counts().ended.entry(reason.name().to_owned()).or_default() += 1;
    }

    /// A run is to be tried again after an end.
    pub(crate) fn tried_again(&self, after: ExitReason) {
        *self.counts().tried_again.entry(after.name().to_owned()).or_default() += 1;
    }

    /// So many runs were taken up.
    pub(crate) fn recovered(&self, runs: usize) {
        self.counts().recovered += runs as u64;
    }

    /// A run that was accepted then has just got its place.
    pub(crate) fn waited(&self, accepted: Timestamp, placed: Timestamp) {
        // None where the clock was set back meanwhile.
        let wait = Duration::try_from(placed.duration_since(accepted)).unwrap_or_default();
        self.counts().queue_wait.add(wait);
    }

    /// A run was prepared; its environment was `reused` or built.
    pub(crate) fn prepared(&self, time: Duration, reused: bool) {
        let mut counts = self.counts();
        counts.preparation.add(time);
        if reused {
            counts.environments_reused += 1;
        } else {
            counts.environments_built += 1;
        }
    }

    /// An environment could not be made ready.
    pub(crate) fn environment_failed(&self) {
        self.counts().environments_failed += 1;
    }

    /// A snapshot of so many bytes was handed in.
    pub(crate) fn snapshot(&self, bytes: u64) {
        self.counts().snapshot_bytes += bytes;
    }

    /// Objects of so many bytes came in.
    pub(crate) fn received(&self, bytes: u64) {
        self.counts().snapshot_bytes_received += bytes;
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agent {
    /// Returns all that is counted.
    ///
    /// # Errors
    ///
    /// The records cannot be read.
    pub(crate) async fn statistics(&self) -> Result<StatisticsReport, StoreError> {
        let mut runs: BTreeMap<_, _> =
            RunStatus::ALL.iter().map(|status| (status.name().to_owned(), 0)).collect();
        runs.extend(self.store.count_by_status().await?);
        let counts = self.statistics.counts().clone();
        let usage = self.statistics.usage.clone();
        let (objects, environments) =
            (self.objects.directories().map(Path::to_owned), self.workspace.environments());
        let (store_bytes, environment_bytes) =
            task::blocking(move || usage.of(&objects, &environments)).await;
        let disk = self.disk.report();
        Ok(StatisticsReport {
            schema_version: 1,
            runs,
            counts,
            store_bytes,
            environment_bytes,
            disk,
        })
    }
}
