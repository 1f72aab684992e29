//! Where a run stands, and what may follow.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a run stands. The names are those of the Azure ML run statuses.
///
/// ```text
/// NotStarted -> Queued -> Preparing -> Starting -> Running -> Finalizing -> Completed
///      |          |  ^       | |  |       | |  |       |  |      ^  |
///      |          |  +-------+ |  +-------+-|--|-------+--|------|--+-----> Failed
///      |          |     (agent away)        |  |          |      |  |
///      |          |            |            +--|----------|------+  |
///      |          |            +---------------+----------+--> CancelRequested
///      |          |                                                 |
///      +----------+-------------------------------------------------+-----> Canceled
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub(crate) enum RunStatus {
    /// Made, not yet accepted.
    NotStarted,
    /// Accepted; waits for a place.
    Queued,
    /// Has a place; its source and environment are being put there.
    Preparing,
    /// Its supervisor is being started.
    Starting,
    /// The script runs.
    Running,
    /// The script is over; what it left is being collected.
    Finalizing,
    /// Was asked to end and has not yet.
    CancelRequested,
    /// Ended well.
    Completed,
    /// Ended otherwise; the exit says how.
    Failed,
    /// Ended because someone asked for it.
    Canceled,
}

impl RunStatus {
    /// Every status, in the order of a run's life.
    pub(crate) const ALL: [Self; 10] = [
        Self::NotStarted,
        Self::Queued,
        Self::Preparing,
        Self::Starting,
        Self::Running,
        Self::Finalizing,
        Self::CancelRequested,
        Self::Completed,
        Self::Failed,
        Self::Canceled,
    ];

    /// Azure's name for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NotStarted => "NotStarted",
            Self::Queued => "Queued",
            Self::Preparing => "Preparing",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Finalizing => "Finalizing",
            Self::CancelRequested => "CancelRequested",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
        }
    }

    /// Says whether nothing can follow.
    pub(crate) const fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled)
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
