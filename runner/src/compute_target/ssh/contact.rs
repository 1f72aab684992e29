//! Whether the machine can be reached, since when not, and when it is tried again.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::super::{OutOfContact, Told};
use super::backoff::Backoff;
use super::trouble::Trouble;

/// What is known of the way to a machine.
pub(super) struct Contact {
    target: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    heard: Option<Timestamp>,
    failing: Option<Failing>,
    backoff: Backoff,
    is_over: bool,
}

struct Failing {
    contact: OutOfContact,
    unfit: Option<Told>,
}

impl Contact {
    /// Knows nothing yet of the machine of `target`.
    pub(super) fn new(target: &str) -> Self {
        let state = Mutex::default();
        Self { target: target.to_owned(), state, changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine answered.
    pub(super) fn heard(&self) {
        let mut state = self.state();
        state.heard = Some(Timestamp::now());
        if state.failing.take().is_some() {
            tracing::info!(target = self.target, "The machine can be reached again.");
        }
        state.backoff.succeeded();
        self.changed.notify_all();
    }

    /// It did not.
    pub(super) fn failed(&self, trouble: &Trouble) {
        let mut state = self.state();
        let since = match &state.failing {
            Some(failing) => failing.contact.since,
            None => state.heard.unwrap_or_else(Timestamp::now),
        };
        let (why, hint) = (trouble.message(), trouble.hint(&self.target));
        if state.failing.is_none() {
            tracing::warn!(target = self.target, why, "The machine is out of contact.");
        }
        let unfit = match trouble {
            Trouble::Unfit(told) => Some(told.clone()),
            _ => None,
        };
        state.failing = Some(Failing { contact: OutOfContact { since, why, hint }, unfit });
        state.backoff.failed(Instant::now(), trouble.is_passing());
        self.changed.notify_all();
    }

    /// Says whether it may be tried now.
    ///
    /// # Errors
    ///
    /// Not yet, and why.
    pub(super) fn may_try(&self) -> Result<(), (OutOfContact, Option<Told>)> {
        let state = self.state();
        match &state.failing {
            Some(failing) if !state.backoff.left(Instant::now()).is_zero() => {
                Err((failing.contact.clone(), failing.unfit.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Returns since when and why the machine cannot be reached, if so.
    pub(super) fn out_of_contact(&self) -> Option<OutOfContact> {
        self.state().failing.as_ref().map(|failing| failing.contact.clone())
    }

    /// Returns what is said of a machine that has not answered yet.
    pub(super) fn no_answer_yet(&self) -> OutOfContact {
        self.out_of_contact().unwrap_or_else(|| OutOfContact {
            since: self.state().heard.unwrap_or_else(Timestamp::now),
            why: "it has not answered yet".to_owned(),
            hint: None,
        })
    }

    /// Nobody need wait any more.
    pub(super) fn close(&self) {
        self.state().is_over = true;
        self.changed.notify_all();
    }

    /// Waits until the next try is due or somebody else reached the machine, but no longer than
    /// `limit`.
    pub(super) fn wait(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut state = self.state();
        loop {
            let now = Instant::now();
            let left = state.backoff.left(now).min(until.saturating_duration_since(now));
            if left.is_zero() || state.failing.is_none() || state.is_over {
                return;
            }
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::exit_record::ExitReason;
    use crate::ssh::{HostKey, SshError};

    use super::*;

    fn silent() -> Trouble {
        Trouble::Ssh(SshError::Silent { host: "vm".to_owned(), after: Duration::from_secs(15) })
    }

    #[test]
    fn out_of_contact_is_since_it_was_heard_of_last() {
        let contact = Contact::new("gpu-vm");
        assert_eq!(contact.out_of_contact(), None);
        assert_eq!(contact.may_try(), Ok(()));

        let before = Timestamp::now();
        contact.heard();
        contact.failed(&silent());
        let first = contact.out_of_contact().unwrap();
        assert!(first.since >= before);
        assert_eq!(first.why, "vm has been silent for 15 s");
        contact.failed(&Trouble::Ssh(SshError::Lost {
            host: "vm".to_owned(),
            said: "reset".to_owned(),
        }));
        let second = contact.out_of_contact().unwrap();
        assert_eq!(
            (second.since, second.why.as_str()),
            (first.since, "lost the connection to vm: reset")
        );
        assert_eq!(contact.may_try().unwrap_err().0, second);

        contact.heard();
        assert_eq!((contact.out_of_contact(), contact.may_try()), (None, Ok(())));
    }

    #[test]
    fn a_machine_that_will_not_do_says_so() {
        let contact = Contact::new("gpu-vm");
        let told = Told {
            reason: ExitReason::CannotStart,
            message: "it is an aarch64".to_owned(),
            hint: None,
        };
        contact.failed(&Trouble::Unfit(told.clone()));
        assert_eq!(contact.may_try().unwrap_err().1, Some(told));
        assert!(contact.state().backoff.left(Instant::now()) > Duration::from_secs(20));
    }

    #[test]
    fn who_waits_is_woken_by_who_gets_through() {
        let contact = Contact::new("gpu-vm");
        contact.failed(&Trouble::Ssh(SshError::Denied {
            host: "vm".to_owned(),
            user: "ana".to_owned(),
            said: "no".to_owned(),
        }));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| contact.wait(Duration::from_secs(60)));
            contact.heard();
            waiting.join().unwrap();
        });
    }

    #[test]
    fn a_changed_host_key_says_how_it_is_accepted() {
        let key = |key: &str| {
            Box::new(HostKey { algorithm: "ssh-ed25519".to_owned(), key: key.to_owned() })
        };
        let (expected, found) = (key("AAAA"), key("BBBB"));
        let fingerprint = found.fingerprint();
        let changed = SshError::HostKeyChanged { host: "vm".to_owned(), expected, found };
        let hint = Trouble::Ssh(changed).hint("gpu-vm").unwrap();
        let command = format!("trainyard target check gpu-vm --accept-host-key {fingerprint}");
        assert!(hint.contains(&command), "{hint}");
    }
}
