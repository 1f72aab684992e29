//! Which network a sandbox has, and what of the machine can make it.
//!
//! ```text
//! the machine's network ── pasta ──▶ a network of the run's own, where `keeper` has put up routes
//!                                    that lead nowhere: a cloud's metadata addresses
//! ```
//!
//! pasta, of the package passt, needs no privileges: it opens connections as any program does and
//! hands their bytes on. What it opens them to is what a machine beside this one could reach, and
//! nothing of this machine's loopback.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};

use super::plan::Missing;
use crate::run_configuration::Network;

pub mod keeper;
pub(crate) mod resolver;
mod routes;

/// Where pasta is looked for.
const PROGRAMS: [&str; 3] = ["/usr/bin/pasta", "/usr/local/bin/pasta", "/bin/pasta"];

/// What makes packets of what a program within sends.
const TAP: &str = "/dev/net/tun";

/// What this machine has to make a network of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkFacts {
    /// Where pasta is.
    pub pasta: Option<PathBuf>,
    /// Whether this user may use `/dev/net/tun`.
    pub has_tap: bool,
    /// Where this machine can send to.
    pub reach: Reach,
    /// Why there was no network of its own when it was tried.
    pub refusal: Option<String>,
}

/// Where a machine can send to, besides itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Nowhere.
    #[default]
    Nowhere,
    /// To its neighbours only.
    Neighbours,
    /// Everywhere: it has a default route.
    Everywhere,
}

/// What a sandbox has of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomNetwork {
    /// The machine's own.
    Machine,
    /// A loopback of its own, and nothing else.
    Alone,
    /// One of its own that this program, pasta, connects.
    Connected(PathBuf),
}

impl NetworkFacts {
    /// Looks at this machine.
    #[must_use]
    pub fn look() -> Self {
        let table = |name: &str| fs::read_to_string(Path::new("/proc/net").join(name));
        Self {
            pasta: PROGRAMS.map(PathBuf::from).into_iter().find(|path| path.is_file()),
            has_tap: access(TAP, Access::READ_OK | Access::WRITE_OK).is_ok(),
            reach: reach(
                &table("route").unwrap_or_default(),
                &table("ipv6_route").unwrap_or_default(),
            ),
            refusal: None,
        }
    }
}

/// Reads the kernel's tables of routes. Pure.
fn reach(ipv4: &str, ipv6: &str) -> Reach {
    const LEADS_NOWHERE: u32 = 0x200;
    let mut reach = Reach::Nowhere;
    for line in ipv4.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, to, _, _, _, _, _, mask, ..] = fields[..] else { continue };
        let is_default = to == "00000000" && mask == "00000000";
        reach = reach.max(if is_default { Reach::Everywhere } else { Reach::Neighbours });
    }
    for line in ipv6.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [to, length, .., flags, device] = fields[..] else { continue };
        let leads_nowhere =
            u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & LEADS_NOWHERE != 0);
        // Every interface that is up has these two.
        let is_of_link = to.starts_with("fe80") || to.starts_with("ff00");
        if device == "lo" || leads_nowhere || is_of_link {
            continue;
        }
        let is_default = length == "00" && to.bytes().all(|digit| digit == b'0');
        reach = reach.max(if is_default { Reach::Everywhere } else { Reach::Neighbours });
    }
    reach
}

/// Says what a run that asks for `asked` has, and what is missing of it. Pure.
#[must_use]
pub fn choose(asked: Network, facts: &NetworkFacts) -> (RoomNetwork, Option<Missing>) {
    if asked != Network::Full || facts.reach == Reach::Nowhere {
        return (RoomNetwork::Alone, None);
    }
    let install = "install the package passt".to_owned();
    let (why, advice) = match (&facts.pasta, &facts.refusal) {
        (None, _) => ("pasta is not installed".to_owned(), install),
        (Some(_), Some(words)) => (format!("pasta connects none: {words}"), NARROWER.to_owned()),
        (Some(_), None) if !facts.has_tap => {
            (format!("this user may not use {TAP}"), format!("`chmod 666 {TAP}` lets all users"))
        }
        (Some(_), None) if facts.reach != Reach::Everywhere => {
            ("pasta needs a default route, and this machine has none".to_owned(), NARROWER.into())
        }
        (Some(pasta), None) => return (RoomNetwork::Connected(pasta.clone()), None),
    };
    (RoomNetwork::Machine, Some(machines_own(&why, advice)))
}

/// What helps whatever the reason is.
pub(super) const NARROWER: &str = "ask for --network none or loopback where the run needs no more";

/// Says what the machine's own network leaves open.
pub(super) fn machines_own(why: &str, advice: String) -> Missing {
    let why = format!(
        "the network is the machine's own, whose loopback and a cloud's metadata address can be \
         reached: {why}"
    );
    Missing { layer: "network".to_owned(), why, advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n";

    #[test]
    fn the_kernels_tables_tell_how_far_a_machine_reaches() {
        let neighbours = format!("{HEAD}eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\n");
        let default = format!("{neighbours}eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\n");
        let zeros = "0".repeat(32);
        let line = |to: &str, length: &str, flags: &str, device: &str| {
            format!(
                "{to} {length} {zeros} 00 {zeros} 00000400 00000001 00000000 {flags} {device}\n"
            )
        };
        let link = line("fe800000000000000000000000000000", "40", "00000001", "eth0");
        let none = line(&zeros, "00", "00200200", "lo");

        assert_eq!(reach("", ""), Reach::Nowhere);
        assert_eq!(reach(HEAD, &format!("{link}{none}")), Reach::Nowhere);
        assert_eq!(reach(&neighbours, ""), Reach::Neighbours);
        assert_eq!(reach(&default, &none), Reach::Everywhere);
        assert_eq!(reach(HEAD, &line(&zeros, "00", "00000003", "eth0")), Reach::Everywhere);
    }

    #[test]
    fn what_a_machine_has_decides_whose_network_it_is() {
        let whole = NetworkFacts {
            pasta: Some("/usr/bin/pasta".into()),
            has_tap: true,
            reach: Reach::Everywhere,
            refusal: None,
        };
        let refusal = Some("Failed to open tun socket in namespace".to_owned());
        let mut table = String::new();
        for (name, asked, facts) in [
            ("all there is", Network::Full, whole.clone()),
            ("none asked for", Network::None, whole.clone()),
            ("no network", Network::Full, NetworkFacts { reach: Reach::Nowhere, ..whole.clone() }),
            ("no pasta", Network::Full, NetworkFacts { pasta: None, ..whole.clone() }),
            ("no tap", Network::Full, NetworkFacts { has_tap: false, ..whole.clone() }),
            (
                "no default route",
                Network::Full,
                NetworkFacts { reach: Reach::Neighbours, ..whole.clone() },
            ),
            ("refused", Network::Full, NetworkFacts { refusal, ..whole }),
        ] {
            let (network, missing) = choose(asked, &facts);
            let missing = missing.map_or_else(String::new, |missing| {
                format!("\n  {}\n  → {}", missing.why, missing.advice)
            });
            table += &format!("{name}: {network:?}{missing}\n");
        }
        insta::assert_snapshot!(table);
    }
}
