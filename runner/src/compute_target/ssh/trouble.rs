//! Why something asked of a machine did not come off.

use std::io;

use snapshots::error_chain::chain;

use super::super::{OutOfContact, TargetError, Told};
use crate::exit_record::ExitReason;
use crate::remote::client::RemoteError;
use crate::remote::message::{Refusal, RefusalKind};
use crate::ssh::SshError;

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Trouble {
    /// SSH.
    Ssh(SshError),
    /// The machine can be reached, and will not do as it is.
    Unfit(Told),
    /// What this program says there is not what was expected.
    Remote(RemoteError),
}

impl From<SshError> for Trouble {
    fn from(error: SshError) -> Self {
        Self::Ssh(error)
    }
}

impl Trouble {
    /// Says what happened, in one line.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Ssh(error) => chain(error),
            Self::Unfit(told) => told.message.clone(),
            Self::Remote(error) => chain(error),
        }
    }

    /// Says what to do about it, where the machine is the target `target`.
    pub(super) fn hint(&self, target: &str) -> Option<String> {
        match self {
            Self::Ssh(SshError::HostKeyChanged { found, .. }) => Some(format!(
                "if the machine was set up anew, `trainyard target check {target} \
                 --accept-host-key {}` accepts the new key; if not, somebody may be in between",
                found.fingerprint()
            )),
            Self::Ssh(error) => error.hint(),
            Self::Unfit(told) => told.hint.clone(),
            Self::Remote(RemoteError::Refused { refusal }) => refusal.hint.clone(),
            Self::Remote(_) => None,
        }
    }

    /// Says whether the same may work in a moment.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Ssh(error) => error.is_passing(),
            Self::Unfit(_) => false,
            Self::Remote(_) => true,
        }
    }

    /// Tells it to somebody who asked for this connection and nothing else.
    pub(super) fn into_error(self, target: &str) -> TargetError {
        let hint = self.hint(target);
        match self {
            Self::Ssh(error) => TargetError::Ssh(error),
            Self::Unfit(told) => TargetError::Told { told },
            Self::Remote(error) => {
                let message = chain(&error);
                let told = Told { reason: ExitReason::CannotStart, message, hint };
                TargetError::Told { told }
            }
        }
    }
}

/// Why a question has no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The machine cannot be reached now. If it can and will not do as it is: what it said.
    OutOfContact(OutOfContact, Option<Told>),
    /// It says no.
    Refused(Refusal),
    /// What is to be sent cannot be read here, or what comes cannot be kept.
    Local(io::Error),
}

impl Unanswered {
    /// Tells it as an error of the target `target`.
    pub(super) fn into_error(self, target: &str) -> TargetError {
        match self {
            Self::Local(source) => TargetError::Told { told: of_home(source) },
            Self::OutOfContact(contact, _) => {
                TargetError::OutOfContact { target: target.to_owned(), contact }
            }
            Self::Refused(refusal) => TargetError::Told { told: told(refusal) },
        }
    }
}

/// Turns a refusal into what it means for a run.
pub(super) fn told(refusal: Refusal) -> Told {
    let reason = match refusal.kind {
        RefusalKind::DiskFull => ExitReason::DiskFull,
        _ => ExitReason::CannotStart,
    };
    Told { reason, message: refusal.message, hint: refusal.hint }
}

/// Tells what went wrong on this side.
pub(super) fn of_home(source: io::Error) -> Told {
    let full = source.kind() == io::ErrorKind::StorageFull;
    let reason = if full { ExitReason::DiskFull } else { ExitReason::AgentFault };
    Told { reason, message: chain(&source), hint: None }
}
