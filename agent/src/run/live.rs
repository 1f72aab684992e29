//! Where the runs that are not over stand, for those who watch them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use runner::run_id::RunId;
use tokio::sync::watch;

use super::status::RunStatus;

/// The statuses of the runs that are not over. The records are the truth; this tells at once.
#[derive(Debug, Default)]
pub(crate) struct LiveRuns(Mutex<HashMap<RunId, watch::Sender<RunStatus>>>);

impl LiveRuns {
    /// Says that `run` now stands at `status`. Called after that is in the records.
    pub(crate) fn publish(&self, run: &RunId, status: RunStatus) {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if status.is_ended() {
            if let Some(watched) = runs.remove(run) {
                watched.send_replace(status);
            }
        } else if let Some(watched) = runs.get(run) {
            watched.send_replace(status);
        } else {
            runs.insert(run.clone(), watch::Sender::new(status));
        }
    }

    /// Watches `run`. `None` when it is over or unknown: the records say which.
    pub(crate) fn watch(&self, run: &RunId) -> Option<watch::Receiver<RunStatus>> {
        let runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.get(run).map(watch::Sender::subscribe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_watches_sees_the_end_and_who_comes_later_does_not() {
        let live = LiveRuns::default();
        let run = RunId::generate("exp", 1, 2);
        live.publish(&run, RunStatus::Queued);
        let mut watching = live.watch(&run).unwrap();
        assert_eq!(*watching.borrow_and_update(), RunStatus::Queued);

        live.publish(&run, RunStatus::Canceled);

        assert_eq!(*watching.borrow_and_update(), RunStatus::Canceled);
        assert!(live.watch(&run).is_none());
    }
}
