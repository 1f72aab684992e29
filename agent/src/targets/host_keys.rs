//! Accepting a host key that is not the pinned one.

use runner::compute_target::ssh::{Jump, SshTargetSpec};
use runner::ssh::{Endpoint, HostKey, HostKeyPolicy};
use tracing::warn;

use super::Targets;
use super::attached::Attached;
use super::credentials::{KeptCredential, to_ssh};
use super::error::RegistryError;

impl Targets {
    /// Pins the host key whose fingerprint is `asked`, if it is what the machine, or one on the way
    /// to it, shows now in place of the pinned one.
    pub(super) fn accept_key(&self, target: &Attached, asked: &str) -> Result<(), RegistryError> {
        let mut kept = target.kept();
        let name = kept.spec.name.clone();
        let (credentials, of_systemd) = self.credentials.read(&name)?;
        for place in 0..=kept.spec.jumps.len() {
            let endpoint = endpoint(&kept.spec, place, &credentials);
            let shown = self.reach.host_key(&endpoint).map_err(RegistryError::of(&name))?;
            let pinned = pinned(&mut kept.spec, place);
            if shown == *pinned {
                continue;
            }
            if shown.fingerprint() != asked {
                let (shown, asked) = (shown.fingerprint(), asked.to_owned());
                return Err(RegistryError::OtherKey { host: endpoint.host, shown, asked });
            }
            let before = pinned.fingerprint();
            *pinned = shown;
            warn!(target = name, before, now = asked, "Accepted another host key.");
            self.write(&kept)?;
            self.put(kept, &credentials, of_systemd);
            return Ok(());
        }
        // Nothing has changed: it is enough that the key is the one that was meant.
        let known = kept.spec.jumps.iter().map(|jump| &jump.host_key);
        if known.chain([&kept.spec.host_key]).any(|key| key.fingerprint() == asked) {
            return Ok(());
        }
        let (host, shown) = (kept.spec.host.clone(), kept.spec.host_key.fingerprint());
        Err(RegistryError::OtherKey { host, shown, asked: asked.to_owned() })
    }
}

/// Returns the pinned key of the machine at `place` on the way; the target's own is the last.
fn pinned(spec: &mut SshTargetSpec, place: usize) -> &mut HostKey {
    match spec.jumps.get_mut(place) {
        Some(jump) => &mut jump.host_key,
        None => &mut spec.host_key,
    }
}

/// Returns the way to the machine at `place`, through those before it, whose keys are pinned.
fn endpoint(spec: &SshTargetSpec, place: usize, credentials: &[KeptCredential]) -> Endpoint {
    let on_the_way = |jump: &Jump, host_key: HostKeyPolicy| Endpoint {
        host: jump.host.clone(),
        port: jump.port,
        user: jump.user.clone(),
        host_key,
        credentials: to_ssh(credentials),
        jumps: Vec::new(),
    };
    let mut last = match spec.jumps.get(place) {
        Some(jump) => on_the_way(jump, HostKeyPolicy::Any),
        None => Endpoint {
            host: spec.host.clone(),
            port: spec.port,
            user: spec.user.clone(),
            host_key: HostKeyPolicy::Any,
            credentials: to_ssh(credentials),
            jumps: Vec::new(),
        },
    };
    let before = spec.jumps.iter().take(place);
    last.jumps =
        before.map(|jump| on_the_way(jump, HostKeyPolicy::Pinned(jump.host_key.clone()))).collect();
    last
}
