//! What is done for runs beside their way, such as listing packages, and waiting for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use runner::run_id::RunId;
use tokio::sync::{OwnedMutexGuard, watch};

/// The runs for which one kind of errand is under way.
#[derive(Debug, Default)]
pub(crate) struct Errands {
    under_way: Mutex<HashMap<RunId, watch::Receiver<()>>>,
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// While this is held, the errand is under way.
#[derive(Debug)]
#[must_use = "dropping it says that the errand is done"]
pub(crate) struct Errand(#[expect(dead_code, reason = "its end is the news")] watch::Sender<()>);

impl Errands {
    /// Says that the errand for `run` is under way until the answer is dropped.
    pub(crate) fn begin(&self, run: &RunId) -> Errand {
        let (errand, under_way) = watch::channel(());
        let mut runs = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        runs.retain(|_, under_way| under_way.has_changed().is_ok());
        runs.insert(run.clone(), under_way);
        Errand(errand)
    }

    /// Waits until no other run's errand is at `target`. Of many that begin together the first one's
    /// answer is remembered, and does for the others; each by itself would keep the machine busy.
    pub(crate) async fn turn(&self, target: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(target.to_owned()).or_default())
        };
        turn.lock_owned().await
    }

    /// Waits until nothing is under way for `run`.
    pub(crate) async fn settled(&self, run: &RunId) {
        let runs = || self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = runs().get(run).cloned();
        if let Some(mut under_way) = under_way {
            while under_way.changed().await.is_ok() {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_under_way_is_waited_for() {
        let errands = Errands::default();
        let (one, other) = (RunId::generate("exp", 1, 2), RunId::generate("exp", 1, 3));
        let errand = errands.begin(&one);

        errands.settled(&other).await;
        let mut settled = Box::pin(errands.settled(&one));
        assert!(futures_util::poll!(&mut settled).is_pending());
        drop(errand);
        settled.await;

        let _errand = errands.begin(&other);
        assert_eq!(errands.under_way.lock().unwrap().len(), 1, "what is over is forgotten");
    }

    #[tokio::test]
    async fn one_at_a_time_is_at_a_target() {
        let errands = Errands::default();
        let first = errands.turn("local").await;
        let _elsewhere = errands.turn("vm").await;
        let mut second = Box::pin(errands.turn("local"));

        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        let _second = second.await;
    }
}
