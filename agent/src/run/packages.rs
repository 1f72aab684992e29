//! The lists of packages that are on their way into the records.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use runner::run_id::RunId;
use tokio::sync::watch;

/// The runs whose packages are being asked for.
#[derive(Debug, Default)]
pub(crate) struct Packages {
    asked: Mutex<HashMap<RunId, watch::Receiver<()>>>,
}

/// While this is held, the packages of a run are being asked for.
#[derive(Debug)]
#[must_use = "dropping it says that the list is there"]
pub(crate) struct Asking(#[expect(dead_code, reason = "its end is the news")] watch::Sender<()>);

impl Packages {
    /// Says that the packages of `run` are being asked for until the answer is dropped.
    pub(crate) fn begin(&self, run: &RunId) -> Asking {
        let (asking, asked) = watch::channel(());
        let mut runs = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        runs.retain(|_, asked| asked.has_changed().is_ok());
        runs.insert(run.clone(), asked);
        Asking(asking)
    }

    /// Waits until the packages of `run` are in the records, or it is known that they will not be.
    pub(crate) async fn settled(&self, run: &RunId) {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).get(run).cloned();
        if let Some(mut asked) = asked {
            while asked.changed().await.is_ok() {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_list_that_is_on_its_way_is_waited_for() {
        let packages = Packages::default();
        let (one, other) = (RunId::generate("exp", 1, 2), RunId::generate("exp", 1, 3));
        let asking = packages.begin(&one);

        packages.settled(&other).await;
        let mut settled = Box::pin(packages.settled(&one));
        assert!(futures_util::poll!(&mut settled).is_pending());
        drop(asking);
        settled.await;

        let _asking = packages.begin(&other);
        assert_eq!(packages.asked.lock().unwrap().len(), 1, "what is over is forgotten");
    }
}
