//! Whose targets are: who may use one, and who may change it.
//!
//! What somebody who rules the agent attached is everybody's to use, and theirs to change. What a
//! user attached is that user's alone: to others there is no target of that name. Names and
//! machines are the agent's, each of which is there once; one that another user has is taken.

use std::sync::Arc;

use runner::compute_target::ComputeTarget;

use super::{Attached, Kept, RegistryError, Targets};
use crate::peer::Peer;

impl Kept {
    /// Says whether `peer` may use it, and know of it.
    pub(super) fn is_for(&self, peer: Peer) -> bool {
        self.owner.is_none_or(|owner| peer.scope().has(owner))
    }

    /// Says whether `peer` may change it.
    fn is_of(&self, peer: Peer) -> bool {
        peer.rules || self.owner == Some(peer.uid)
    }
}

impl Targets {
    /// Returns the names of the targets that `peer` may use, this machine's first.
    pub(crate) fn names_for(&self, peer: Peer) -> Vec<String> {
        let attached = self.all_attached().into_iter().map(|target| target.kept());
        let theirs = attached.filter(|kept| kept.is_for(peer)).map(|kept| kept.spec.name);
        std::iter::once(self.local.name().to_owned()).chain(theirs).collect()
    }

    /// Returns the target called `name`, if `peer` may use it.
    ///
    /// # Errors
    ///
    /// There is none for this peer.
    pub(crate) fn usable(
        &self,
        name: &str,
        peer: Peer,
    ) -> Result<Arc<dyn ComputeTarget>, RegistryError> {
        let is_for_peer = self.attached(name).is_none_or(|target| target.kept().is_for(peer));
        let found = self.find(name).filter(|_| is_for_peer);
        found.ok_or_else(|| self.none(name, peer))
    }

    /// Returns the attached machine called `name`, if `peer` may `action` it.
    ///
    /// # Errors
    ///
    /// There is none for this peer, it is this machine, or it is not theirs to change.
    pub(crate) fn changeable(
        &self,
        name: &str,
        peer: Peer,
        action: &'static str,
    ) -> Result<Arc<Attached>, RegistryError> {
        self.usable(name, peer)?;
        let target = self.attached(name).ok_or(RegistryError::Local { action })?;
        if target.kept().is_of(peer) {
            Ok(target)
        } else {
            Err(RegistryError::NotYours { name: name.to_owned(), action })
        }
    }

    /// Says that there is no target called `name` for `peer`.
    fn none(&self, name: &str, peer: Peer) -> RegistryError {
        RegistryError::NotAttached { name: name.to_owned(), known: self.names_for(peer) }
    }

    /// Checks that `peer` may attach a machine under `name`.
    ///
    /// # Errors
    ///
    /// The name is another user's, or somebody else's credentials are kept for it.
    pub(super) fn check_owner(
        &self,
        name: &str,
        of_systemd: bool,
        peer: Peer,
    ) -> Result<(), RegistryError> {
        let is_others = match self.attached(name).map(|target| target.kept()) {
            Some(kept) if !kept.is_for(peer) => true,
            Some(kept) if !kept.is_of(peer) => {
                return Err(RegistryError::NotYours { name: name.to_owned(), action: "change" });
            }
            _ => false,
        };
        // What systemd hands over lets in whoever looks after this machine, and nobody else.
        let is_systemds = of_systemd || self.credentials.is_of_systemd(name)?;
        if is_others || (is_systemds && !peer.rules) {
            return Err(RegistryError::Taken { what: format!("the name {name:?}") });
        }
        Ok(())
    }
}
