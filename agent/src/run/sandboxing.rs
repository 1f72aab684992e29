//! Which sandbox a run outside of a container gets, and who may ask for what. Pure.

use std::path::Path;

use runner::container::ContainerPolicy;
use runner::run_configuration::Network;
use runner::sandbox::policy::{InvalidMount, Mount, SandboxMode, SandboxPolicy, Tier};

use crate::api::wire::submission::SubmitRequest;
use crate::peer::Peer;

/// What the administrator says of sandboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SandboxRules {
    /// What runs get that say nothing.
    pub(crate) default: SandboxMode,
    /// Without which none starts in one.
    pub(crate) minimum: Tier,
    /// Whether users who do not rule the agent may do without.
    pub(crate) allow_off: bool,
    /// What each is shown.
    pub(crate) mounts: Vec<Mount>,
}

impl Default for SandboxRules {
    fn default() -> Self {
        let (default, minimum) = (SandboxMode::Off, Tier::Reduced);
        Self { default, minimum, allow_off: false, mounts: Vec::new() }
    }
}

/// Why a run cannot have the sandbox it asks for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SandboxNotAllowed {
    /// Only some may do without.
    #[error("this agent runs nothing of yours without a sandbox")]
    Off,
    /// Some things take one.
    #[error("{asked} takes a sandbox, and --sandbox off asks for none")]
    Takes {
        /// What was asked for.
        asked: String,
    },
    /// It is no mount.
    #[error(transparent)]
    Mount(#[from] InvalidMount),
    /// What is not to be seen.
    #[error("--mount {mount} is not allowed: {why}")]
    Guarded {
        /// What was asked for.
        mount: String,
        /// Why.
        why: String,
    },
}

impl SandboxNotAllowed {
    /// Returns what to do next.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Off => "leave --sandbox off out, or have the administrator set sandbox.allow-off",
            Self::Takes { .. } => "leave one of the two out",
            Self::Mount(_) => "say --mount /data, --mount /data:/in or --mount /data:/out:rw",
            Self::Guarded { .. } => {
                "name a directory with the data alone, or have the administrator put it into \
                 sandbox.mounts"
            }
        }
    }
}

impl SandboxRules {
    /// Returns what `request` is kept from. What takes a sandbox asks for one.
    fn mode(&self, request: &SubmitRequest) -> SandboxMode {
        let asks = request.network != Network::Full || !request.mounts.is_empty();
        let otherwise = match self.default {
            SandboxMode::Off if asks => SandboxMode::Default,
            default => default,
        };
        request.sandbox.unwrap_or(otherwise)
    }

    /// Returns the sandbox of `request`, if it has one.
    pub(crate) fn policy(&self, request: &SubmitRequest) -> Option<SandboxPolicy> {
        let mode = self.mode(request);
        let mounts = self.mounts.iter().chain(&request.mounts).cloned().collect();
        (mode != SandboxMode::Off).then_some(SandboxPolicy {
            mode,
            network: request.network,
            mounts,
            minimum: self.minimum,
        })
    }

    /// Checks what `peer` asks for; `home` is where the agent keeps its state.
    ///
    /// # Errors
    ///
    /// The first thing that it may not have.
    pub(crate) fn check(
        &self,
        request: &SubmitRequest,
        peer: Peer,
        home: &Path,
    ) -> Result<(), SandboxNotAllowed> {
        if request.sandbox == Some(SandboxMode::Off) {
            if !peer.rules && !self.allow_off && self.default != SandboxMode::Off {
                return Err(SandboxNotAllowed::Off);
            }
            if let Some(mount) = request.mounts.first() {
                return Err(SandboxNotAllowed::Takes { asked: format!("--mount {mount}") });
            }
            if is_process(request) && request.network != Network::Full {
                let asked = format!("--network {}", request.network);
                return Err(SandboxNotAllowed::Takes { asked });
            }
        }
        request.mounts.iter().try_for_each(|mount| self.check_mount(mount, peer, home))
    }

    fn check_mount(&self, mount: &Mount, peer: Peer, home: &Path) -> Result<(), SandboxNotAllowed> {
        mount.check()?;
        let listed = self
            .mounts
            .iter()
            .any(|one| mount.source.starts_with(&one.source) && (one.writable || !mount.writable));
        let why = if listed {
            None
        } else if peer.rules {
            ContainerPolicy::default().refusal(&mount.source, Some(home))
        } else {
            // The script is of the agent's user, who may read what this one may not.
            Some("it is in none of the directories that the administrator shows".to_owned())
        };
        match why {
            Some(why) => Err(SandboxNotAllowed::Guarded { mount: mount.to_string(), why }),
            None => Ok(()),
        }
    }
}

/// Says whether it is to be a process of the machine.
fn is_process(request: &SubmitRequest) -> bool {
    !matches!(request.environment, images::environment::Environment::Docker { .. })
}

#[cfg(test)]
mod tests {
    use snapshots::digest::Digest;

    use super::*;
    use crate::store::tests::request;

    fn asked(change: impl FnOnce(&mut SubmitRequest)) -> SubmitRequest {
        let mut request = request(Digest::of(b"source"));
        change(&mut request);
        request
    }

    #[test]
    fn what_takes_a_sandbox_gets_one() {
        let off = SandboxRules::default();
        let on = SandboxRules { default: SandboxMode::Strict, ..SandboxRules::default() };
        let mode = |rules: &SandboxRules, request: &SubmitRequest| {
            rules.policy(request).map(|policy| policy.mode)
        };

        let nothing = asked(|_| {});
        let none = asked(|request| request.network = Network::None);
        let without = asked(|request| request.sandbox = Some(SandboxMode::Off));
        assert_eq!((mode(&off, &nothing), mode(&on, &nothing)), (None, Some(SandboxMode::Strict)));
        assert_eq!(mode(&off, &none), Some(SandboxMode::Default));
        assert_eq!(mode(&on, &without), None);
    }

    #[test]
    fn who_may_ask_for_what() {
        let mounts = vec!["/data".parse().unwrap()];
        let rules = SandboxRules { default: SandboxMode::Default, mounts, ..Default::default() };
        let home = Path::new("/home/ana/.local/state/trainyard");
        let (owner, other) = (Peer { uid: 1, rules: true }, Peer { uid: 2, rules: false });
        let mount = |text: &str| {
            let mount = text.parse().unwrap();
            asked(|request| request.mounts = vec![mount])
        };
        let mut table = String::new();
        for (name, request) in [
            ("nothing", asked(|_| {})),
            ("off", asked(|request| request.sandbox = Some(SandboxMode::Off))),
            (
                "off, none",
                asked(|request| {
                    request.sandbox = Some(SandboxMode::Off);
                    request.network = Network::None;
                }),
            ),
            ("/data/x", mount("/data/x")),
            ("/data:rw", mount("/data:rw")),
            ("/srv", mount("/srv")),
            ("/etc", mount("/etc")),
            ("/home/ana", mount("/home/ana")),
            ("docker.sock", mount("/run/docker.sock:rw")),
        ] {
            for (who, peer) in [("owner", owner), ("other", other)] {
                let said = match rules.check(&request, peer, home) {
                    Ok(()) => "yes".to_owned(),
                    Err(refused) => format!("{refused}; {}", refused.hint()),
                };
                table += &format!("{name:12}{who:6}{said}\n");
            }
        }
        insta::assert_snapshot!(table);
    }
}
