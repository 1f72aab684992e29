//! Preparing a run on a machine: its snapshot is sent, the rest is done there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use snapshots::digest::Digest;
use snapshots::error_chain::chain;
use snapshots::store::local::LocalStore;

use super::super::{Needs, NotPrepared, Ready};
use super::calls::id_of;
use super::mirror::Known;
use super::trouble::{self, Unanswered};
use super::upload::{self, NotSent};
use super::{SshTarget, machine};
use crate::durable_file;
use crate::remote::client::RemoteError;
use crate::remote::message::{Done, Hidden, Request, Standing};
use crate::run_directory::RunDirectory;
use crate::run_id::RunId;

/// How soon a request to end is heeded.
const HEED: Duration = Duration::from_millis(100);

/// Why one try did not come off.
enum Failed {
    /// Another may.
    OutOfContact,
    /// None will.
    For(NotPrepared),
}

impl SshTarget {
    pub(super) fn prepare_there(
        &self,
        run: &RunDirectory,
        needs: &Needs,
        objects: &LocalStore,
        cancelled: &AtomicBool,
    ) -> Result<Ready, NotPrepared> {
        let id = id_of(run)?;
        self.mirror.follow(&id, run);
        let prepared = self.ask_to_prepare(&id, run, (needs, objects), cancelled).and_then(|()| {
            self.mirror.is_changed(&id);
            self.hear_of(&id, cancelled)
        });
        if let Err(error) = run.forget_registry_password() {
            tracing::error!(%error, "The password for a registry is still on the disk.");
        }
        if prepared.is_err() {
            self.give_up(&id);
        }
        prepared
    }

    /// Sends what the machine lacks and asks it to prepare the run; waits out being out of contact.
    fn ask_to_prepare(
        &self,
        id: &RunId,
        run: &RunDirectory,
        (needs, objects): (&Needs, &LocalStore),
        cancelled: &AtomicBool,
    ) -> Result<(), NotPrepared> {
        let password: Option<String> = durable_file::read_json(&run.registry_json())?;
        let request = Request::Prepare {
            run: id.clone(),
            owner: self.owner.clone(),
            needs: needs.clone(),
            registry_password: password.map(Hidden),
        };
        let context = needs.environment.build_context();
        let snapshots: Vec<_> = std::iter::once(needs.snapshot).chain(context).collect();
        loop {
            if cancelled.load(Ordering::Relaxed) {
                return Err(NotPrepared::Cancelled);
            }
            match self.try_to_prepare(&request, &snapshots, objects, cancelled) {
                Ok(()) => return Ok(()),
                Err(Failed::For(error)) => return Err(error),
                Err(Failed::OutOfContact) => self.pool.contact.wait(HEED),
            }
        }
    }

    fn try_to_prepare(
        &self,
        request: &Request,
        snapshots: &[Digest],
        objects: &LocalStore,
        cancelled: &AtomicBool,
    ) -> Result<(), Failed> {
        let mut at_home = None;
        let begun = Instant::now();
        let asked = self.pool.with_client(|client| {
            for id in snapshots {
                match upload::send(objects, id, client, cancelled) {
                    Ok(sent) => tracing::debug!(
                        objects = sent.objects,
                        bytes = sent.bytes,
                        round_trips = sent.round_trips,
                        elapsed_ms = begun.elapsed().as_millis(),
                        "Sent a snapshot."
                    ),
                    Err(NotSent::Remote(error)) => return Err(error),
                    Err(NotSent::Home(error)) => {
                        let source = std::io::Error::other(chain(&error));
                        at_home = Some((*id, error));
                        return Err(RemoteError::Local { source });
                    }
                }
            }
            client.ask::<Done>(request)
        });
        if let Some((snapshot, error)) = at_home {
            let message = format!("cannot send snapshot {snapshot}: {}", chain(&error));
            return Err(Failed::For(NotPrepared::Told(machine::unfit(message, None))));
        }
        match asked {
            Ok(Done {}) => Ok(()),
            Err(Unanswered::OutOfContact(_, Some(told))) => {
                Err(Failed::For(NotPrepared::Told(told)))
            }
            Err(Unanswered::OutOfContact(_, None)) => Err(Failed::OutOfContact),
            Err(Unanswered::Refused(refusal)) => {
                Err(Failed::For(NotPrepared::Told(trouble::told(refusal))))
            }
            Err(Unanswered::Local(_)) if cancelled.load(Ordering::Relaxed) => {
                Err(Failed::For(NotPrepared::Cancelled))
            }
            Err(Unanswered::Local(source)) => {
                Err(Failed::For(NotPrepared::Told(trouble::of_home(source))))
            }
        }
    }

    /// Waits for what came of it, however long that takes.
    fn hear_of(&self, id: &RunId, cancelled: &AtomicBool) -> Result<Ready, NotPrepared> {
        let is_on = |known: &Known| {
            matches!(known, Known::Standing(Standing::Preparing | Standing::Unknown))
        };
        loop {
            let known = self.mirror.wait(id, HEED, &|known| !is_on(known));
            if cancelled.load(Ordering::Relaxed) {
                return Err(NotPrepared::Cancelled);
            }
            let gone = |message: &str| NotPrepared::Told(machine::unfit(message.to_owned(), None));
            return match known {
                None => continue,
                Some(known) if is_on(&known) => continue,
                Some(Known::Standing(Standing::Prepared { environment, warnings })) => {
                    Ok(Ready { environment: *environment, warnings, lease: None })
                }
                Some(Known::Standing(Standing::NotPrepared { told })) => {
                    Err(NotPrepared::Told(told))
                }
                Some(Known::Fault(message)) => Err(gone(&message)),
                Some(_) => Err(gone("the run was started or given up while it was prepared")),
            };
        }
    }

    /// Has the machine forget a run that will not be started. Clean-up does it where this fails.
    fn give_up(&self, id: &RunId) {
        self.mirror.leave(id);
        let released = self
            .pool
            .with_client(|client| client.ask::<Done>(&Request::Release { run: id.clone() }));
        if let Err(why) = released {
            tracing::debug!(?why, run = %id, "A run that was not prepared stays there for now.");
        }
    }
}
