//! Which sandbox a run outside of a container gets, and who may ask for what. Pure.

use std::path::Path;

use images::environment::Environment;
use runner::container::{self, ContainerPolicy};
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
    /// What runs reach that do not say, whoever hands them in.
    pub(crate) network: Option<Network>,
}

impl Default for SandboxRules {
    fn default() -> Self {
        let (default, minimum) = (SandboxMode::Default, Tier::Reduced);
        Self { default, minimum, allow_off: false, mounts: Vec::new(), network: None }
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
    /// Containers have none.
    #[error(
        "sandbox and mounts are for runs outside of containers, which are kept to what they are \
         given by their engine"
    )]
    Contained,
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
            Self::Contained => "leave --sandbox and --mount out; a volume shows a container more",
            Self::Mount(_) => "say --mount /data, --mount /data:/in or --mount /data:/out:rw",
            Self::Guarded { .. } => {
                "name a directory with the data alone, or have the administrator put it into \
                 sandbox.mounts"
            }
        }
    }
}

/// What a run says of its sandbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// How much it is kept from.
    pub(crate) mode: Option<SandboxMode>,
    /// What it reaches.
    pub(crate) network: Option<Network>,
    /// What it is shown.
    pub(crate) mounts: &'a [Mount],
    /// What its `/dev/shm` may hold, in bytes.
    pub(crate) shm_bytes: Option<u64>,
    /// The arguments of its container, where it is in one.
    pub(crate) container: Option<&'a [String]>,
}

impl<'a> From<&'a SubmitRequest> for Asked<'a> {
    fn from(request: &'a SubmitRequest) -> Self {
        let is_contained = matches!(request.environment, Environment::Docker { .. });
        let options = request.container.as_ref();
        Self {
            mode: request.sandbox,
            network: request.network,
            mounts: &request.mounts,
            shm_bytes: request.resources.shm_bytes,
            container: is_contained
                .then(|| options.map_or(&[][..], |options| options.arguments.as_slice())),
        }
    }
}

impl SandboxRules {
    /// Returns how much a process is kept from. What takes a sandbox asks for one.
    pub(crate) fn mode(&self, asked: Asked<'_>) -> SandboxMode {
        let takes_one = asked.network.is_some_and(|network| network != Network::Full)
            || !asked.mounts.is_empty()
            || asked.shm_bytes.is_some();
        let otherwise = match self.default {
            SandboxMode::Off if takes_one => SandboxMode::Default,
            default => default,
        };
        asked.mode.unwrap_or(otherwise)
    }

    /// Returns what a run of `peer` reaches: what it asks for, which everybody may; or what the
    /// administrator says; or all, for those who rule the agent, and nothing for others.
    pub(crate) fn network(&self, asked: Asked<'_>, peer: Peer) -> Network {
        let says_otherwise = match asked.container {
            Some(arguments) => container::names_network(arguments),
            // Only a sandbox keeps a process from a network.
            None => self.mode(asked) == SandboxMode::Off,
        };
        let of_peer = if peer.rules { Network::Full } else { Network::None };
        let otherwise =
            if says_otherwise { Network::Full } else { self.network.unwrap_or(of_peer) };
        asked.network.unwrap_or(otherwise)
    }

    /// Returns the sandbox of a process of `peer`, if it has one. What it reaches was settled when
    /// the run was accepted; those that older agents accepted reach all if they do not say.
    pub(crate) fn policy(&self, asked: Asked<'_>, peer: Peer) -> Option<SandboxPolicy> {
        let mode = self.mode(asked);
        (mode != SandboxMode::Off && asked.container.is_none()).then(|| SandboxPolicy {
            mode,
            network: asked.network.unwrap_or_default(),
            mounts: self.mounts.iter().chain(asked.mounts).cloned().collect(),
            within: (!peer.rules).then(|| self.mounts.clone()),
            minimum: self.minimum,
            shm_bytes: asked.shm_bytes,
        })
    }

    /// Checks what `peer` asks for; `home` is where the agent keeps its state.
    ///
    /// # Errors
    ///
    /// The first thing that it may not have.
    pub(crate) fn check(
        &self,
        asked: Asked<'_>,
        peer: Peer,
        home: &Path,
    ) -> Result<(), SandboxNotAllowed> {
        if asked.container.is_some() && (asked.mode.is_some() || !asked.mounts.is_empty()) {
            return Err(SandboxNotAllowed::Contained);
        }
        if asked.mode == Some(SandboxMode::Off) {
            if !peer.rules && !self.allow_off && self.default != SandboxMode::Off {
                return Err(SandboxNotAllowed::Off);
            }
            if let Some(mount) = asked.mounts.first() {
                return Err(SandboxNotAllowed::Takes { asked: format!("--mount {mount}") });
            }
            if asked.shm_bytes.is_some() && asked.container.is_none() {
                return Err(SandboxNotAllowed::Takes { asked: "--shm-size".to_owned() });
            }
            let narrower = asked.network.filter(|network| *network != Network::Full);
            if let Some(network) = narrower.filter(|_| asked.container.is_none()) {
                let asked = format!("--network {network}");
                return Err(SandboxNotAllowed::Takes { asked });
            }
        }
        asked.mounts.iter().try_for_each(|mount| self.check_mount(mount, peer, home))
    }

    fn check_mount(&self, mount: &Mount, peer: Peer, home: &Path) -> Result<(), SandboxNotAllowed> {
        mount.check()?;
        let why = if self.mounts.iter().any(|listed| listed.holds(mount)) {
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

#[cfg(test)]
mod tests {
    use runner::container::ContainerOptions;
    use snapshots::digest::Digest;

    use super::*;
    use crate::store::tests::request;

    fn asked(change: impl FnOnce(&mut SubmitRequest)) -> SubmitRequest {
        let mut request = request(Digest::of(b"source"));
        change(&mut request);
        request
    }

    fn contained(arguments: &[&str]) -> SubmitRequest {
        let arguments: Vec<_> = arguments.iter().map(|word| (*word).to_owned()).collect();
        asked(|request| {
            request.environment = serde_json::from_value(serde_json::json!({
                "kind": "docker",
                "docker": { "base": { "from": "image", "reference": "python:3.11" } },
            }))
            .unwrap();
            request.container = Some(ContainerOptions { arguments, ..Default::default() });
        })
    }

    #[test]
    fn what_takes_a_sandbox_gets_one() {
        let off = SandboxRules { default: SandboxMode::Off, ..SandboxRules::default() };
        let on = SandboxRules { default: SandboxMode::Strict, ..SandboxRules::default() };
        let mode = |rules: &SandboxRules, request: &SubmitRequest| {
            let owner = Peer { uid: 1, rules: true };
            rules.policy(request.into(), owner).map(|policy| policy.mode)
        };

        let nothing = asked(|_| {});
        let none = asked(|request| request.network = Some(Network::None));
        let without = asked(|request| request.sandbox = Some(SandboxMode::Off));
        assert_eq!((mode(&off, &nothing), mode(&on, &nothing)), (None, Some(SandboxMode::Strict)));
        assert_eq!(mode(&off, &none), Some(SandboxMode::Default));
        assert_eq!(mode(&on, &without), None);
        assert_eq!(mode(&SandboxRules::default(), &nothing), Some(SandboxMode::Default));
    }

    #[test]
    fn who_may_ask_for_what() {
        let mounts = vec!["/data".parse().unwrap()];
        let rules = SandboxRules { mounts, ..SandboxRules::default() };
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
                    request.network = Some(Network::None);
                }),
            ),
            ("/data/x", mount("/data/x")),
            ("/data:rw", mount("/data:rw")),
            ("/srv", mount("/srv")),
            ("/etc", mount("/etc")),
            ("/home/ana", mount("/home/ana")),
            ("docker.sock", mount("/run/docker.sock:rw")),
            ("container", {
                let mounts = vec!["/data/x".parse().unwrap()];
                SubmitRequest { mounts, ..contained(&[]) }
            }),
        ] {
            for (who, peer) in [("owner", owner), ("other", other)] {
                let said = match rules.check((&request).into(), peer, home) {
                    Ok(()) => "yes".to_owned(),
                    Err(refused) => format!("{refused}; {}", refused.hint()),
                };
                table += &format!("{name:12}{who:6}{said}\n");
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn mounts_of_those_who_do_not_rule_lead_into_what_is_listed() {
        let mounts = vec!["/data".parse().unwrap()];
        let rules = SandboxRules { mounts: mounts.clone(), ..SandboxRules::default() };
        let request = asked(|request| request.mounts = vec!["/data/x:/in".parse().unwrap()]);
        let within = |rules_agent| {
            let peer = Peer { uid: 2, rules: rules_agent };
            rules.policy((&request).into(), peer).unwrap().within
        };

        assert_eq!((within(true), within(false)), (None, Some(mounts)));
    }

    #[test]
    fn what_runs_reach_that_do_not_say() {
        let (owner, other) = (Peer { uid: 1, rules: true }, Peer { uid: 2, rules: false });
        let free = SandboxRules::default();
        let narrow = SandboxRules { network: Some(Network::Loopback), ..SandboxRules::default() };
        let off = SandboxRules { default: SandboxMode::Off, ..narrow.clone() };
        let mut table = String::new();
        for (name, request) in [
            ("process", asked(|_| {})),
            ("process, full", asked(|request| request.network = Some(Network::Full))),
            ("process, off", asked(|request| request.sandbox = Some(SandboxMode::Off))),
            ("process, mount", asked(|request| request.mounts = vec!["/data".parse().unwrap()])),
            ("container", contained(&[])),
            ("container, --net bridge", contained(&["--net", "bridge"])),
        ] {
            for (whose, rules) in [("nothing", &free), ("loopback", &narrow), ("off", &off)] {
                let [owner, other] =
                    [owner, other].map(|peer| rules.network((&request).into(), peer));
                table += &format!("{name:24}rules say {whose:10}owner {owner:9}other {other}\n");
            }
        }
        insta::assert_snapshot!(table);
    }
}
