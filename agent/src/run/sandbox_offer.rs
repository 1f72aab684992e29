//! What of a sandbox processes can have on the agent's machine, for whoever asks.

use std::sync::Mutex;

use runner::run_configuration::Network;
use runner::sandbox::host::HostFacts;
use runner::sandbox::plan::{Missing, possible};
use runner::sandbox::policy::{Mount, SandboxMode, SandboxPolicy, Tier};
use runner::sandbox::probe;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::sandboxing::{Asked, SandboxRules};
use crate::peer::Peer;

/// The sandbox of processes on the agent's machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SandboxOffer {
    /// How much runs are kept from that do not say: `default`, `strict` or `off`.
    #[schema(value_type = String)]
    pub(crate) mode: SandboxMode,
    /// No run in one starts with less: `none`, `reduced` or `full`.
    #[schema(value_type = String)]
    pub(crate) minimum: Tier,
    /// What runs of whoever asks reach that do not say: `full`, `loopback` or `none`.
    #[schema(value_type = String)]
    pub(crate) network: Network,
    /// What every run in one is shown: `source`, `at` and `writable`.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub(crate) mounts: Vec<Mount>,
    /// How much of one this machine makes: `none`, `reduced` or `full`.
    #[schema(value_type = String)]
    pub(crate) tier: Tier,
    /// What is missing from a whole one: `layer`, `why` and `advice`.
    #[schema(value_type = Vec<Object>)]
    pub(crate) missing: Vec<Missing>,
}

impl SandboxOffer {
    /// Returns what `rules` offer `peer` on a machine like this.
    pub(crate) fn new(rules: &SandboxRules, facts: &HostFacts, peer: Peer) -> Self {
        let (tier, missing) = possible(facts);
        // Where none is the default, of those that ask for one.
        let mode = Some(SandboxMode::Default);
        let network = rules.network(
            Asked { mode, network: None, mounts: &[], shm_bytes: None, container: None },
            peer,
        );
        let SandboxRules { default: mode, minimum, mounts, .. } = rules.clone();
        Self { mode, minimum, network, mounts, tier, missing }
    }

    /// Returns what a run that asks so would get.
    pub(crate) fn forecast(&self, asked: Asked<'_>) -> Forecast {
        let rules = SandboxRules {
            default: self.mode,
            minimum: self.minimum,
            network: Some(self.network),
            mounts: self.mounts.clone(),
            ..SandboxRules::default()
        };
        // What depends on the peer is settled.
        let peer = Peer { uid: 0, rules: true };
        let network = rules.network(asked, peer);
        let policy = rules.policy(Asked { network: Some(network), ..asked }, peer);
        Forecast { network, policy }
    }

    /// Says what `forecast` lacks here of a whole sandbox, and what to do: the first thing.
    pub(crate) fn warning(&self, forecast: &Forecast) -> Option<String> {
        let policy = forecast.policy.as_ref()?;
        let Missing { why, advice, .. } = self.missing.first()?;
        let tier = self.tier;
        let least = policy.least();
        Some(if tier < least {
            format!(
                "the run will not start: its sandbox would be {tier} and must be {least}: {why}; {advice}"
            )
        } else {
            format!("the sandbox will be {tier}: {why}; {advice}")
        })
    }
}

/// What a run would get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forecast {
    /// What it would reach.
    pub(crate) network: Network,
    /// Its sandbox, if it would be in one.
    pub(crate) policy: Option<SandboxPolicy>,
}

/// What this machine makes of a sandbox: looked at for every answer, tried when that has changed.
#[derive(Debug, Default)]
pub(crate) struct MachineSandbox(Mutex<Option<(HostFacts, HostFacts)>>);

impl MachineSandbox {
    /// Returns what there is. Blocks for some milliseconds where it is tried.
    pub(crate) fn facts(&self) -> HostFacts {
        let seen = HostFacts::look();
        let mut tried = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((before, found)) = &*tried
            && *before == seen
        {
            return found.clone();
        }
        let found = probe::tried(seen.clone());
        *tried = Some((seen, found.clone()));
        found
    }
}

#[cfg(test)]
mod tests {
    use runner::sandbox::network::NetworkFacts;

    use super::*;

    fn offer(change: impl FnOnce(&mut HostFacts)) -> SandboxOffer {
        let mut facts = HostFacts {
            bwrap: Some("/usr/bin/bwrap".into()),
            is_privileged: false,
            no_user_namespaces: None,
            landlock: 7,
            seccomp: true,
            network: NetworkFacts::default(),
            refusal: None,
        };
        change(&mut facts);
        SandboxOffer::new(&SandboxRules::default(), &facts, Peer { uid: 1, rules: true })
    }

    #[test]
    fn what_will_be_missing_is_said_once_with_what_to_do() {
        let asks = |mode, container| Asked {
            mode,
            network: None,
            mounts: &[],
            shm_bytes: None,
            container,
        };
        let mut table = String::new();
        for (name, offer) in [
            ("all there is", offer(|_| {})),
            ("no bubblewrap", offer(|facts| facts.bwrap = None)),
            (
                "no bubblewrap, an old kernel",
                offer(|facts| (facts.bwrap, facts.landlock) = (None, 0)),
            ),
        ] {
            for (what, asked) in [
                ("nothing", asks(None, None)),
                ("strict", asks(Some(SandboxMode::Strict), None)),
                ("off", asks(Some(SandboxMode::Off), None)),
                ("a container", asks(None, Some(&[]))),
            ] {
                let said = offer.warning(&offer.forecast(asked));
                table += &format!("{name}, {what}: {}\n", said.as_deref().unwrap_or("-"));
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn what_is_tried_once_is_known() {
        let machine = MachineSandbox::default();
        assert_eq!(machine.facts(), machine.facts());
    }
}
