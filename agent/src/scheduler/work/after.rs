//! Runs that wait for the ends of others.

use jiff::Timestamp;
use runner::exit_record::{ExitReason, ExitRecord};
use runner::run_id::RunId;
use tracing::{error, info};

use super::Work;
use crate::api::wire::waiting::After;
use crate::run::status::{RunEvent, RunStatus};
use crate::store::{Change, Facts, RunRow};

/// Returns the runs that the run of `row` was handed in to wait for: before its first attempt, and
/// no more.
pub(super) fn ids(row: &RunRow) -> Vec<RunId> {
    if row.attempt > 1 {
        return Vec::new();
    }
    row.request.after.iter().filter_map(|after| after.run.parse().ok()).collect()
}

impl Work {
    /// Lets a run that has just come into the queue wait no more for what is over already.
    pub(super) async fn look_at_others(&mut self, run: &RunId) {
        let Ok(row) = self.agent.store.row(run).await else { return };
        for other in ids(&row) {
            match self.agent.store.status(&other).await {
                Ok(Some(status)) if !status.is_ended() => {}
                Ok(status) => self.hears(run, &other, status).await,
                Err(error) => error!(%error, %run, "Could not look up what a run waits for."),
            }
        }
    }

    /// Tells all that wait for `over` that it is. Whoever ends by that is told of in its turn.
    pub(super) async fn is_over(&mut self, over: RunId, status: RunStatus) {
        let wait_for = |seen: &super::Seen| -> Vec<RunId> {
            let waiting = seen.queue.iter().filter(|waiting| waiting.after.contains(&over));
            waiting.map(|waiting| waiting.run.clone()).collect()
        };
        let waiting = wait_for(&self.agent.scheduler.seen());
        for run in waiting {
            self.hears(&run, &over, Some(status)).await;
        }
    }

    /// `run` hears that `other`, which it waited for, stands at `status`, or is not there any more.
    async fn hears(&mut self, run: &RunId, other: &RunId, status: Option<RunStatus>) {
        let row = match self.agent.store.row(run).await {
            Ok(row) => row,
            Err(error) => return error!(%error, %run, "Could not look up a run that waits."),
        };
        let is_meant = |after: &&After| after.run == other.as_str();
        let any_end = row.request.after.iter().find(is_meant).is_none_or(|after| after.any_end);
        if any_end || status == Some(RunStatus::Completed) {
            if let Some(waiting) = self.agent.scheduler.seen().queue.get_mut(run) {
                waiting.after.retain(|it| it != other);
            }
            return;
        }
        let message = match status {
            Some(status) => format!("{other}, which it waited for, is {}", status.name()),
            None => format!("{other}, which it waited for, was removed"),
        };
        info!(%run, "Ended a run that waited for another: {message}.");
        let exit = ExitRecord::new(ExitReason::DependencyFailed, message, Timestamp::now());
        let change =
            Change::now(RunEvent::CancelAsked).with(Facts { exit: Some(exit), ..Facts::default() });
        let ended = match self.agent.record(run, change).await {
            Ok(status) => status,
            Err(error) => return error!(%error, %run, "Could not end a run that waits in vain."),
        };
        self.leave(run);
        Box::pin(self.is_over(run.clone(), ended)).await;
    }
}
