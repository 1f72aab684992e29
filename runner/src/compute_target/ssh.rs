//! A machine that is reached over SSH.
//!
//! ```text
//! pool       connections that are not in use; contact: whether there are any, since when not
//! bootstrap  puts this program on the machine and has it answer
//! upload     sends snapshots
//! mirror     appends at home what is new of the runs that are followed
//! fetch      brings outputs home
//! ```

mod backoff;
mod beneath;
mod bootstrap;
mod calls;
mod contact;
mod fetch;
mod machine;
mod mirror;
mod pool;
mod preparing;
mod program;
mod trouble;
mod upload;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use snapshots::digest::Digest;
use snapshots::error_chain::chain;
use snapshots::store::local::LocalStore;
use snapshots::transfer::Sent;

use self::bootstrap::SshConnector;
use self::mirror::Mirror;
use self::pool::{Connector, Pool};
use self::program::Program;
use self::trouble::Trouble;
use self::upload::NotSent;
use super::TargetError;
use crate::remote::client::RemoteError;
use crate::remote::message::{Cleaned, Cleaning, Hello, Purged, Request};
use crate::remote::report::MachineReport;
use crate::ssh::{Credential, Endpoint, HostKey, HostKeyPolicy, Patience, SshConnection};

/// What is kept of an attached machine; its credentials are kept apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SshTargetSpec {
    /// The version of this record: 1.
    pub version: u32,
    /// What runs call it.
    pub name: String,
    /// A name or an address.
    pub host: String,
    /// 22 as a rule.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// The host key that was shown when it was attached.
    pub host_key: HostKey,
    /// The machines to go through, the nearest first.
    #[serde(default)]
    pub jumps: Vec<Jump>,
    /// [`Hello::machine`], when it was attached.
    pub machine: String,
    /// Whether it may be something else than Ubuntu.
    #[serde(default)]
    pub allow_unsupported: bool,
    /// When it was attached.
    pub attached_time_utc: Timestamp,
}

/// A machine on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Jump {
    /// A name or an address.
    pub host: String,
    /// 22 as a rule.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// Its host key.
    pub host_key: HostKey,
}

/// What a target needs of this side.
#[derive(Clone)]
pub struct HomeSide {
    /// This program, which is put on the machine.
    pub program: PathBuf,
    /// Whose runs they are: this machine and the agent's state directory.
    pub owner: String,
}

/// A machine that is reached over SSH.
pub struct SshTarget {
    name: String,
    owner: String,
    pool: Arc<Pool>,
    mirror: Mirror,
}

impl SshTarget {
    /// Stands for the machine of `spec`. Connects when something is asked of it.
    #[must_use]
    pub fn new(spec: SshTargetSpec, credentials: Vec<Credential>, home: HomeSide) -> Self {
        Self::with_patience(spec, credentials, home, Patience::default())
    }

    /// The same, but waits for the machine as long as `patience` says.
    #[must_use]
    pub fn with_patience(
        spec: SshTargetSpec,
        credentials: Vec<Credential>,
        home: HomeSide,
        patience: Patience,
    ) -> Self {
        let connector = SshConnector {
            endpoint: spec.endpoint(&credentials),
            patience,
            program: Program::new(home.program.clone()),
            machine: Some(spec.machine),
        };
        Self::through(spec.name, Box::new(connector), home)
    }

    /// Stands for the machine that `connector` leads to.
    fn through(name: String, connector: Box<dyn Connector>, home: HomeSide) -> Self {
        let pool = Arc::new(Pool::new(&name, connector));
        let mirror = Mirror::new(Arc::clone(&pool));
        Self { name, owner: home.owner, pool, mirror }
    }

    /// Connects for the first time: puts this program on the machine and asks who it is.
    ///
    /// # Errors
    ///
    /// [`TargetError::Ssh`], or why the machine will not do.
    pub fn first_contact(
        endpoint: &Endpoint,
        home: &HomeSide,
        allow_unsupported: bool,
    ) -> Result<FirstContact, TargetError> {
        let told = |trouble: Trouble| trouble.into_error(&endpoint.host);
        let program = Program::new(home.program.clone());
        let (pinned, jump_keys) = pin_jumps(endpoint)?;
        let patience = Patience::default();
        let mut connector = SshConnector { endpoint: pinned, patience, program, machine: None };
        let (connection, machine) = connector.examine().map_err(told)?;
        if !allow_unsupported {
            machine.check_supported().map_err(|told| TargetError::Told { told })?;
        }
        let host_key = connection.host_key().clone();
        drop(connection);
        connector.endpoint.host_key = HostKeyPolicy::Pinned(host_key.clone());
        let (mut client, hello) = connector.connect().map_err(told)?;
        let report = client.ask(&Request::Report).map_err(|error| told(Trouble::Remote(error)))?;
        Ok(FirstContact { host_key, jump_keys, hello, report })
    }

    /// Asks what the machine is and has. Tries to connect whatever was met with before.
    ///
    /// # Errors
    ///
    /// [`TargetError::Ssh`].
    pub fn report(&self) -> Result<MachineReport, TargetError> {
        self.ask_now(&Request::Report)
    }

    /// Removes what nobody needs.
    ///
    /// # Errors
    ///
    /// [`TargetError::Ssh`], or what went wrong there.
    pub fn clean(&self, wanted: Cleaning) -> Result<Cleaned, TargetError> {
        self.ask_now(&Request::Clean(wanted))
    }

    /// Sends the snapshot `id` of `objects` there, ahead of the runs that need it.
    ///
    /// # Errors
    ///
    /// [`TargetError::OutOfContact`], or why it cannot be sent. What arrived is kept, and sending
    /// again sends only the rest.
    pub fn send(&self, objects: &LocalStore, id: &Digest) -> Result<Sent, TargetError> {
        let mut at_home = None;
        let sent = self.pool.with_client(|client| {
            upload::send(objects, id, client, &AtomicBool::new(false)).map_err(
                |error| match error {
                    NotSent::Remote(error) => error,
                    NotSent::Home(error) => {
                        let source = std::io::Error::other(chain(&error));
                        at_home = Some(error);
                        RemoteError::Local { source }
                    }
                },
            )
        });
        if let Some(error) = at_home {
            let message = format!("cannot send snapshot {id}: {}", chain(&error));
            return Err(TargetError::Told { told: machine::unfit(message, None) });
        }
        sent.map_err(|error| error.into_error(&self.name))
    }

    /// Removes all of ours from the machine.
    ///
    /// # Errors
    ///
    /// [`TargetError::Ssh`], or what went wrong there.
    pub fn purge(&self) -> Result<Purged, TargetError> {
        let purged = self.ask_now(&Request::Purge { owner: self.owner.clone() });
        // What they speak to is gone.
        self.pool.close_idle();
        purged
    }

    /// Asks over a connection of its own, whatever was met with before.
    fn ask_now<A: DeserializeOwned>(&self, request: &Request) -> Result<A, TargetError> {
        let asked = self
            .pool
            .connect_now()
            .and_then(|mut client| client.ask(request).map_err(Trouble::Remote));
        asked.map_err(|trouble| {
            let is_refusal = matches!(&trouble, Trouble::Remote(RemoteError::Refused { .. }));
            if !is_refusal {
                self.pool.contact.failed(&trouble);
            }
            trouble.into_error(&self.name)
        })
    }
}

impl SshTargetSpec {
    /// Returns where the machine is, to be entered with `credentials`.
    fn endpoint(&self, credentials: &[Credential]) -> Endpoint {
        let jump = |jump: &Jump| Endpoint {
            host: jump.host.clone(),
            port: jump.port,
            user: jump.user.clone(),
            host_key: HostKeyPolicy::Pinned(jump.host_key.clone()),
            credentials: credentials.to_vec(),
            jumps: Vec::new(),
        };
        Endpoint {
            host: self.host.clone(),
            port: self.port,
            user: self.user.clone(),
            host_key: HostKeyPolicy::Pinned(self.host_key.clone()),
            credentials: credentials.to_vec(),
            jumps: self.jumps.iter().map(jump).collect(),
        }
    }
}

/// Asks the machines on the way for their keys, the nearest first, and returns `endpoint` with
/// those pinned: what is shown to the user is what was gone through.
fn pin_jumps(endpoint: &Endpoint) -> Result<(Endpoint, Vec<HostKey>), TargetError> {
    let mut pinned = endpoint.clone();
    let mut keys = Vec::new();
    for index in 0..pinned.jumps.len() {
        let mut jump = pinned.jumps[index].clone();
        jump.jumps = pinned.jumps[..index].to_vec();
        if jump.host_key == HostKeyPolicy::Any {
            let key = SshConnection::host_key_of(&jump, Patience::default())?;
            pinned.jumps[index].host_key = HostKeyPolicy::Pinned(key.clone());
            keys.push(key);
        } else {
            keys.push(SshConnection::connect(&jump, Patience::default())?.host_key().clone());
        }
    }
    Ok((pinned, keys))
}

/// What the first contact told.
#[derive(Clone, Debug)]
pub struct FirstContact {
    /// The host key that was shown.
    pub host_key: HostKey,
    /// The same of the machines on the way.
    pub jump_keys: Vec<HostKey>,
    /// Who answered.
    pub hello: Hello,
    /// What the machine is and has.
    pub report: MachineReport,
}
