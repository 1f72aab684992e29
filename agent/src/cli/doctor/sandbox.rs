//! The sandbox of runs outside of containers: how much of one this machine makes.

use runner::run_configuration::Network;
use runner::sandbox::host::HostFacts;
use runner::sandbox::network::choose;
use runner::sandbox::plan::possible;
use runner::sandbox::probe;

use super::Finding;

const NAME: &str = "sandbox";

/// Makes one, for this user.
pub(super) fn look() -> Finding {
    finding(&probe::tried(HostFacts::look()))
}

/// Says what runs get.
fn finding(facts: &HostFacts) -> Finding {
    let (tier, mut missing) = possible(facts);
    if missing.is_empty() {
        missing.extend(choose(Network::Full, &facts.network).1);
    }
    match missing.first() {
        None => Finding::good(
            NAME,
            format!(
                "{tier}: runs see nothing but what they are given; \
                 `trainyard sandbox probe` proves it"
            ),
        ),
        Some(first) => {
            let why: Vec<&str> = missing.iter().map(|one| one.why.as_str()).collect();
            Finding::missing(NAME, format!("{tier}: {}", why.join("; ")), first.advice.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use runner::sandbox::network::{NetworkFacts, Reach};

    use super::*;

    #[test]
    fn what_is_missing_comes_with_how_to_get_it() {
        let whole = HostFacts {
            bwrap: Some("/usr/bin/bwrap".into()),
            is_privileged: false,
            no_user_namespaces: None,
            landlock: 7,
            seccomp: true,
            network: NetworkFacts {
                pasta: Some("/usr/bin/pasta".into()),
                has_tap: true,
                reach: Reach::Everywhere,
                refusal: None,
            },
            refusal: None,
        };
        let refusal = Some("Unknown option --size".to_owned());
        let mut text = String::new();
        for facts in [
            HostFacts { refusal, ..whole.clone() },
            HostFacts { bwrap: None, landlock: 0, ..whole.clone() },
            HostFacts {
                network: NetworkFacts { pasta: None, ..whole.network.clone() },
                ..whole.clone()
            },
            whole,
        ] {
            let Finding { found, advice, .. } = finding(&facts);
            text += &format!("{found}\n  → {}\n", advice.unwrap_or_default());
        }
        insta::assert_snapshot!(text);
    }
}
