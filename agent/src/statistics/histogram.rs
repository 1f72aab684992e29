//! How long something took, how often.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// From a run that starts at once to one that waits for a day. Seconds.
const BOUNDS: [f64; 12] =
    [0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0];

/// Durations, counted by how long they were.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Histogram {
    /// How many there were.
    pub(crate) count: u64,
    /// How long they were together.
    pub(crate) seconds: f64,
    /// How many were at most so long.
    pub(crate) buckets: Vec<Bucket>,
}

/// How many were at most so long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Bucket {
    /// So long, in seconds.
    pub(crate) at_most: f64,
    /// How many, those of shorter buckets among them.
    pub(crate) count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = BOUNDS.map(|at_most| Bucket { at_most, count: 0 });
        Self { count: 0, seconds: 0.0, buckets: buckets.into() }
    }
}

impl Histogram {
    /// Adds one.
    pub(crate) fn add(&mut self, length: Duration) {
        let seconds = length.as_secs_f64();
        self.count += 1;
        self.seconds += seconds;
        for bucket in self.buckets.iter_mut().filter(|bucket| seconds <= bucket.at_most) {
            bucket.count += 1;
        }
    }

    /// Returns how long one was as a rule, where there was any.
    pub(crate) fn mean(&self) -> Option<Duration> {
        let times = u32::try_from(self.count).ok().filter(|count| *count > 0)?;
        Some(Duration::try_from_secs_f64(self.seconds).ok()? / times)
    }
}
