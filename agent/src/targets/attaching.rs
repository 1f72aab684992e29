//! Attaching a machine: checked, met, written down, in this order.

use std::path::PathBuf;

use jiff::Timestamp;
use runner::compute_target::ssh::{FirstContact, Jump, SshTargetSpec};
use runner::ssh::{Endpoint, HostKeyPolicy};
use tracing::info;

use super::attached::{Kept, Size};
use super::credentials::{KeptCredential, to_ssh};
use super::error::RegistryError;
use super::{Checked, Targets, name};
use crate::peer::Peer;

/// The version of what is kept of a target.
const VERSION: u32 = 1;

/// What is to be attached.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// What runs will call it.
    pub(crate) name: String,
    /// Where it is, and who logs in.
    pub(crate) at: Hop,
    /// The machines to go through, the nearest first.
    pub(crate) jumps: Vec<Hop>,
    /// What lets us in; nothing where systemd hands it over.
    pub(crate) credentials: Vec<KeptCredential>,
    /// Whether systemd hands the credential over.
    pub(crate) of_systemd: bool,
    /// The `known_hosts` file that has to have its host key.
    pub(crate) known_hosts: Option<PathBuf>,
    /// Whether it may be something else than Ubuntu.
    pub(crate) allow_unsupported: bool,
}

/// A machine, or one on the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    /// A name or an address.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// Who logs in.
    pub(crate) user: String,
}

impl Hop {
    fn check(&self) -> Result<(), RegistryError> {
        for (what, text) in [("address", &self.host), ("user", &self.user)] {
            let odd = |c: char| c.is_control() || c.is_whitespace();
            if text.is_empty() || text.starts_with('-') || text.contains(odd) {
                let message = format!("{text:?} is no {what} of a machine");
                return Err(RegistryError::Invalid { message, hint: None });
            }
        }
        if self.port == 0 {
            let message = "there is no port 0".to_owned();
            return Err(RegistryError::Invalid { message, hint: None });
        }
        Ok(())
    }

    fn of(spec: &SshTargetSpec) -> Self {
        Self { host: spec.host.clone(), port: spec.port, user: spec.user.clone() }
    }
}

impl std::fmt::Display for Hop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.user, self.host)?;
        if self.port == 22 { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl Targets {
    /// Attaches a machine, or replaces how the one that has the name already is logged in to.
    /// Blocks, for as long as it takes to put this program there.
    ///
    /// # Errors
    ///
    /// What is asked for makes no sense, the machine is attached under another name, the name
    /// stands for another machine, or the machine cannot be reached or will not do. Nothing was
    /// changed here.
    pub(crate) fn attach(&self, asked: &Asked, peer: Peer) -> Result<Checked, RegistryError> {
        name::check(&asked.name)?;
        asked.at.check()?;
        asked.jumps.iter().try_for_each(Hop::check)?;
        self.check_owner(&asked.name, asked.of_systemd, peer)?;
        let credentials = if asked.of_systemd {
            vec![self.credentials.demand_of_systemd(&asked.name)?]
        } else {
            asked.credentials.clone()
        };
        if credentials.is_empty() {
            let message = "nothing says how to log in".to_owned();
            let hint = "give a password, a private key, or the keys of an SSH agent".to_owned();
            return Err(RegistryError::Invalid { message, hint: Some(hint) });
        }
        let _alone = self.change();
        // Again: somebody may have been quicker.
        self.check_owner(&asked.name, asked.of_systemd, peer)?;
        let same = |kept: &Kept| Hop::of(&kept.spec) == asked.at;
        self.check_names(asked, peer, same)?;
        let before = self.attached(&asked.name).map(|target| target.kept());
        let endpoint = endpoint(asked, before.as_ref().map(|kept| &kept.spec), &credentials);
        let asking = Timestamp::now();
        let contact = self
            .reach
            .first_contact(&endpoint, asked.allow_unsupported)
            .map_err(RegistryError::of(&asked.name))?;
        let checked = Checked::new(contact.report.clone(), asking, Timestamp::now());
        self.check_names(asked, peer, |kept| kept.spec.machine == contact.hello.machine)?;
        if let Some(before) = &before
            && before.spec.machine != contact.hello.machine
        {
            let address = Hop::of(&before.spec).to_string();
            return Err(RegistryError::OtherMachine { name: asked.name.clone(), address });
        }
        let kept = Kept {
            owner: match &before {
                Some(before) => before.owner,
                None => (!peer.rules).then_some(peer.uid),
            },
            size: Size::of(&contact.report).unwrap_or_default(),
            cleaned: before.and_then(|before| before.cleaned),
            spec: spec(asked, contact),
        };
        // What systemd hands over is not stored; what was stored before has no use any more.
        if asked.of_systemd {
            self.credentials.remove(&asked.name)?;
        } else {
            self.credentials.write(&asked.name, &credentials)?;
        }
        self.write(&kept)?;
        info!(target = asked.name, at = %asked.at, "Attached a machine.");
        // As they will be read at the next start.
        let (credentials, of_systemd) = self.credentials.read(&asked.name)?;
        self.put(kept, &credentials, of_systemd);
        Ok(checked)
    }

    /// Checks that no target of another name is like that.
    fn check_names(
        &self,
        asked: &Asked,
        peer: Peer,
        is_it: impl Fn(&Kept) -> bool,
    ) -> Result<(), RegistryError> {
        let others = self.all_attached().into_iter().map(|target| target.kept());
        let mut others = others.filter(|kept| kept.spec.name != asked.name);
        match others.find(is_it) {
            Some(other) if !other.is_for(peer) => {
                Err(RegistryError::Taken { what: asked.at.to_string() })
            }
            Some(other) => {
                Err(RegistryError::Twice { address: asked.at.to_string(), other: other.spec.name })
            }
            None => Ok(()),
        }
    }
}

/// Says which host key is accepted of which machine: one that is pinned already stays so.
fn endpoint(
    asked: &Asked,
    before: Option<&SshTargetSpec>,
    credentials: &[KeptCredential],
) -> Endpoint {
    let first_time = match &asked.known_hosts {
        Some(file) => HostKeyPolicy::Known(file.clone()),
        None => HostKeyPolicy::Any,
    };
    let pinned = |hop: &Hop| {
        let before = before?;
        let own = (before.host == hop.host && before.port == hop.port).then_some(&before.host_key);
        let mut jumps = before.jumps.iter();
        own.or_else(|| {
            let same = |jump: &&Jump| jump.host == hop.host && jump.port == hop.port;
            jumps.find(same).map(|jump| &jump.host_key)
        })
    };
    let one = |hop: &Hop, jumps: Vec<Endpoint>| Endpoint {
        host: hop.host.clone(),
        port: hop.port,
        user: hop.user.clone(),
        host_key: match (&asked.known_hosts, pinned(hop)) {
            (None, Some(key)) => HostKeyPolicy::Pinned(key.clone()),
            _ => first_time.clone(),
        },
        credentials: to_ssh(credentials),
        jumps,
    };
    one(&asked.at, asked.jumps.iter().map(|hop| one(hop, Vec::new())).collect())
}

fn spec(asked: &Asked, contact: FirstContact) -> SshTargetSpec {
    let jumps = asked.jumps.iter().zip(contact.jump_keys);
    SshTargetSpec {
        version: VERSION,
        name: asked.name.clone(),
        host: asked.at.host.clone(),
        port: asked.at.port,
        user: asked.at.user.clone(),
        host_key: contact.host_key,
        jumps: jumps
            .map(|(hop, host_key)| Jump {
                host: hop.host.clone(),
                port: hop.port,
                user: hop.user.clone(),
                host_key,
            })
            .collect(),
        machine: contact.hello.machine,
        allow_unsupported: asked.allow_unsupported,
        attached_time_utc: Timestamp::now(),
    }
}
