//! Why a target is not attached, asked or let go.

use runner::compute_target::TargetError;
use runner::ssh::SshError;
use snapshots::error_chain::chain;
use snapshots::path_error::PathError;

use crate::store::StoreError;

/// Why the registry of targets says no. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    /// What was asked for makes no sense.
    #[error("{message}")]
    Invalid {
        /// What is wrong with it.
        message: String,
        /// What would be right.
        hint: Option<String>,
    },
    /// There is no such target.
    #[error("there is no compute target {name:?}")]
    NotAttached {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// This machine is always there, and nothing of it is attached.
    #[error("local is this machine: you cannot {action} it")]
    Local {
        /// What was asked for.
        action: &'static str,
    },
    /// The machine is attached under another name.
    #[error("{address} is attached already, as {other:?}")]
    Twice {
        /// Who and where it is.
        address: String,
        /// Its name.
        other: String,
    },
    /// The name stands for another machine.
    #[error("{name:?} is attached already, and is another machine: {address}")]
    OtherMachine {
        /// The name.
        name: String,
        /// Where that one is.
        address: String,
    },
    /// Runs that are not over are on it.
    #[error("{name:?} is in use by {}", runs.join(", "))]
    InUse {
        /// The target.
        name: String,
        /// The runs.
        runs: Vec<String>,
    },
    /// The key that was to be accepted is not the one that the machine shows.
    #[error("{host} shows the host key {shown}, not {asked}; nothing was accepted")]
    OtherKey {
        /// The machine.
        host: String,
        /// The fingerprint of what it shows.
        shown: String,
        /// The fingerprint that was asked for.
        asked: String,
    },
    /// The machine, or the way to it, said no.
    #[error("{}", chain(error))]
    Target {
        /// Its name, or the one it was to have.
        name: String,
        /// What happened.
        error: Box<TargetError>,
    },
    /// A file of the state directory cannot be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The records cannot be read.
    #[error(transparent)]
    Records(#[from] StoreError),
    /// An object store cannot be used.
    #[error(transparent)]
    Objects(#[from] snapshots::store::StoreError),
    /// Somebody else has what was asked for.
    #[error("{what} is taken")]
    Taken {
        /// The name or the machine.
        what: String,
    },
    /// It is everybody's to use, and not everybody's to change.
    #[error("{name:?} is everybody's: only those who look after this agent may {action} it")]
    NotYours {
        /// The target.
        name: String,
        /// What was asked for.
        action: &'static str,
    },
}

impl RegistryError {
    /// Says which target an error is about.
    pub(crate) fn of(name: &str) -> impl FnOnce(TargetError) -> Self {
        let name = name.to_owned();
        move |error| Self::Target { name, error: Box::new(error) }
    }

    /// Returns what to do next.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Invalid { hint, .. } => hint.clone(),
            Self::NotAttached { known, .. } => Some(format!(
                "it is one of {}; `trainyard target attach remote` attaches another",
                known.join(", ")
            )),
            Self::Local { .. } => Some("`trainyard doctor` looks at this machine".to_owned()),
            Self::Twice { other, .. } => {
                Some(format!("use --target {other}, or `trainyard target detach {other}` first"))
            }
            Self::OtherMachine { name, .. } => {
                Some(format!("choose another name, or `trainyard target detach {name}` first"))
            }
            Self::InUse { .. } => {
                Some("wait for them, or end them with `trainyard cancel RUN`".to_owned())
            }
            Self::OtherKey { shown, .. } => Some(format!(
                "ask whoever looks after the machine whether {shown} is its key before accepting it"
            )),
            Self::Target { name, error } => target_hint(name, error),
            Self::Records(error) => error.hint().map(str::to_owned),
            Self::Taken { .. } => Some(
                "another user of this agent has it: choose another, or ask whoever looks after the agent".to_owned(),
            ),
            Self::NotYours { .. } => Some(
                "ask root or a member of the administrators' group (`users.admin-group`)".to_owned(),
            ),
            Self::Path(_) | Self::Objects(_) => None,
        }
    }
}

fn target_hint(name: &str, error: &TargetError) -> Option<String> {
    match error {
        TargetError::Ssh(SshError::HostKeyChanged { found, .. }) => Some(format!(
            "somebody may be listening in. If the machine was set up anew and {0} is its key: \
             `trainyard target check {name} --accept-host-key {0}`",
            found.fingerprint()
        )),
        error => error.hint(),
    }
}
