//! Following runs: what is new of them on the machine is appended at home.
//!
//! One thread with one connection asks about all runs that are followed, for as long as there are
//! any. Whoever wants to know how a run stands waits for what that thread hears.

mod files;
mod follow;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::super::OutOfContact;
use super::pool::Pool;
use crate::remote::message::Standing;
use crate::run_directory::RunDirectory;
use crate::run_id::RunId;

/// How long the thread waits for another run before it ends.
const LINGER: Duration = Duration::from_secs(30);

/// Follows the runs of one machine.
pub(super) struct Mirror {
    shared: Arc<Shared>,
}

/// What the thread and those who wait for it share.
struct Shared {
    pool: Arc<Pool>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    runs: BTreeMap<RunId, Followed>,
    /// Whether there is a thread.
    is_on: bool,
    /// Whether it is to end.
    is_over: bool,
    /// Since when the machine has not answered, while nothing has failed yet.
    asking_since: Option<Instant>,
}

/// A run that is followed.
struct Followed {
    directory: RunDirectory,
    /// What the machine said last; nothing where that does not count any more.
    standing: Option<Standing>,
    /// Counts what makes earlier answers worthless.
    epoch: u64,
    /// Whether it was ever heard that somebody supervises it.
    was_started: bool,
    /// Why it cannot be brought up to date.
    fault: Option<String>,
}

/// What is known of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It stands like this.
    Standing(Standing),
    /// The machine has forgotten it, although it was started.
    Forgotten,
    /// It is over, or was given up: its `exit.json` tells.
    Over,
    /// It cannot be brought up to date at home.
    Fault(String),
}

impl Mirror {
    /// Follows nothing yet.
    pub(super) fn new(pool: Arc<Pool>) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { pool, state, changed }) }
    }

    /// Follows `run` from now on, if it is not followed already.
    pub(super) fn follow(&self, run: &RunId, directory: &RunDirectory) {
        let mut state = self.shared.state();
        if state.runs.contains_key(run) {
            return;
        }
        let was_started = std::fs::metadata(directory.events()).is_ok_and(|file| file.len() > 0);
        let followed = Followed {
            directory: directory.clone(),
            standing: None,
            epoch: 0,
            was_started,
            fault: None,
        };
        state.runs.insert(run.clone(), followed);
        if !state.is_on {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name("mirror".to_owned());
            // Without a thread nobody hears anything; the next call tries again.
            state.is_on = thread.spawn(move || follow::follow(&shared)).is_ok();
        }
        self.shared.changed.notify_all();
    }

    /// Follows `run` no longer.
    pub(super) fn leave(&self, run: &RunId) {
        self.shared.state().runs.remove(run);
        self.shared.changed.notify_all();
    }

    /// Says that what was heard of `run` so far does not count any more.
    pub(super) fn is_changed(&self, run: &RunId) {
        if let Some(followed) = self.shared.state().runs.get_mut(run) {
            followed.epoch += 1;
            followed.standing = None;
        }
    }

    /// Says that `run` was started: what was heard before does not count any more.
    pub(super) fn is_started(&self, run: &RunId) {
        let is_known =
            self.shared.state().runs.get(run).is_some_and(|followed| {
                matches!(followed.standing, Some(Standing::Supervised { .. }))
            });
        if !is_known {
            self.is_changed(run);
        }
    }

    /// Waits until `enough` says so of what is known of `run`, which is followed, but no longer
    /// than `limit`, and returns what is known then.
    pub(super) fn wait(
        &self,
        run: &RunId,
        limit: Duration,
        enough: &dyn Fn(&Known) -> bool,
    ) -> Option<Known> {
        let until = Instant::now() + limit;
        let mut state = self.shared.state();
        loop {
            let known = state.runs.get(run).map_or(Some(Known::Over), Followed::known);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || known.as_ref().is_some_and(enough) {
                return known;
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Returns what is known of `run`, which is followed. If that is nothing, waits for the first
    /// answer, but not once the machine is out of contact, and not for longer than `patience` since
    /// it was first asked.
    ///
    /// # Errors
    ///
    /// The machine is out of contact, or has not answered in that time.
    pub(super) fn known(&self, run: &RunId, patience: Duration) -> Result<Known, OutOfContact> {
        let contact = &self.shared.pool.contact;
        let begun = Instant::now();
        let mut state = self.shared.state();
        loop {
            let known = state.runs.get(run).map_or(Some(Known::Over), Followed::known);
            let failing = contact.out_of_contact();
            match (known, failing) {
                // What is over stays so.
                (Some(Known::Over), _) => return Ok(Known::Over),
                (_, Some(failing)) => return Err(failing),
                (Some(known), None) => return Ok(known),
                (None, None) => {}
            }
            let since = state.asking_since.map_or(begun, |since| since.min(begun));
            let left = patience.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Err(contact.no_answer_yet());
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_all();
        self.shared.pool.contact.close();
    }
}

impl Followed {
    fn known(&self) -> Option<Known> {
        if let Some(fault) = &self.fault {
            return Some(Known::Fault(fault.clone()));
        }
        match self.standing.as_ref()? {
            Standing::Unknown if self.was_started => Some(Known::Forgotten),
            standing => Some(Known::Standing(standing.clone())),
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
