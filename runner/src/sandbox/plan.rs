//! What is done to keep a run to what it was given: from the policy, the machine and the places
//! to a list of steps. Pure.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::denials::Denial;
use super::host::{HostFacts, UserNamespaceBar};
use super::landlock::Fence;
use super::network::{self, NARROWER, RoomNetwork};
use super::places::{Places, RESOLVER, home_in};
use super::policy::{Mount, SandboxPolicy, Tier};
use super::refused_calls::RefusedCalls;
use crate::run_configuration::Network;

/// The first version of Landlock that keeps a process from the abstract sockets of others.
const SCOPES: u32 = 6;

/// Parts of `/sys` that tell of the machine or change it, and that no library asks for.
const COVERED: &[&str] = &["/sys/firmware", "/sys/fs", "/sys/kernel"];

/// Where devices are that every program may use, outside of an own `/dev`.
const PLAIN_DEVICES: &[&str] =
    &["/dev/full", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero"];

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What comes of it.
    pub record: SandboxRecord,
    /// Namespaces and mounts, where they can be had.
    pub rooms: Option<Rooms>,
    /// Which files may be touched, where Landlock is to be had.
    pub fence: Option<Fence>,
    /// Whether system calls are filtered.
    pub filter: bool,
}

impl Plan {
    /// Says whether there is a network of its own that is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        let network = self.rooms.as_ref().map(|rooms| &rooms.network);
        matches!(network, Some(RoomNetwork::Connected(_)))
    }
}

/// What bubblewrap makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rooms {
    /// The program.
    pub bwrap: PathBuf,
    /// Whether there is a namespace for users.
    pub own_users: bool,
    /// What they have of a network.
    pub network: RoomNetwork,
    /// What is seen, each after what it is in.
    pub views: Vec<View>,
}

/// Something at a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct View {
    /// Where.
    pub at: PathBuf,
    /// What.
    pub what: Seen,
}

/// What is seen at a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// Of the machine, to be read.
    Shown(PathBuf),
    /// Of the machine, to be changed.
    Given(PathBuf),
    /// A device of the machine.
    Device,
    /// A link.
    Link(PathBuf),
    /// An empty directory.
    Empty,
    /// A directory in memory of at most so many bytes; `None` is half of the machine's memory.
    Memory(Option<u64>),
    /// The processes of the sandbox.
    Processes,
    /// The devices that do no harm.
    Devices,
}

/// What a run's record says of its sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SandboxRecord {
    /// How much there was.
    pub tier: Tier,
    /// Made by what: `bubblewrap`, `landlock` or `none`.
    pub engine: String,
    /// What the run could reach.
    pub network: Network,
    /// What it was not kept from.
    #[serde(default)]
    pub missing: Vec<Missing>,
    /// Which system calls were refused, and how often; none where that is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_calls: Option<RefusedCalls>,
    /// What it was kept from, as far as the last words of a run that failed tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denials: Vec<Denial>,
}

/// Something that a run was not kept from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Missing {
    /// What is missing.
    pub layer: String,
    /// Why, and what that leaves open.
    pub why: String,
    /// What to do.
    pub advice: String,
}

/// A sandbox that cannot be, and may not be less.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SandboxRefused {
    /// This machine cannot do as much as it must.
    #[error("the sandbox would be {found} here and must be {least}: {}; {}", missing.why, missing.advice)]
    Tier {
        /// What it would be.
        found: Tier,
        /// What it must be.
        least: Tier,
        /// The first thing that is missing.
        missing: Box<Missing>,
    },
    /// A size of `/dev/shm` takes a namespace.
    #[error("--shm-size takes namespaces, which cannot be had here: {}; {}", missing.why, missing.advice)]
    SharedMemory {
        /// Why not.
        missing: Box<Missing>,
    },
    /// A narrower network takes a namespace.
    #[error("a network of {network} takes namespaces, which cannot be had here: {}; {}", missing.why, missing.advice)]
    Network {
        /// What was asked for.
        network: Network,
        /// Why not.
        missing: Box<Missing>,
    },
}

/// Plans a sandbox; `memory` is what its `/dev/shm` may hold, in bytes, where the policy does not say.
///
/// # Errors
///
/// It would be less than it may be.
pub fn plan(
    policy: &SandboxPolicy,
    facts: &HostFacts,
    places: &Places,
    memory: Option<u64>,
) -> Result<Plan, SandboxRefused> {
    let (tier, mut missing) = possible(facts);
    let no_rooms = no_rooms(facts);
    let has_fence = facts.landlock > 0;
    let (network, shares_network) = match &no_rooms {
        None => network::choose(policy.network, &facts.network),
        Some(missing) => {
            (RoomNetwork::Machine, Some(network::machines_own(&missing.why, NARROWER.to_owned())))
        }
    };
    let rooms = facts.bwrap.clone().filter(|_| no_rooms.is_none()).map(|bwrap| Rooms {
        bwrap,
        // Whoever owns a network's namespace of users has power over it from outside, without any
        // capability: a run that root connects must be within.
        own_users: !facts.is_privileged || matches!(network, RoomNetwork::Connected(_)),
        views: views(policy, &network, places, memory),
        network,
    });
    if policy.network != Network::Full
        && let Some(missing) = &no_rooms
    {
        let missing = Box::new(missing.clone());
        return Err(SandboxRefused::Network { network: policy.network, missing });
    }
    if policy.shm_bytes.is_some()
        && let Some(missing) = &no_rooms
    {
        return Err(SandboxRefused::SharedMemory { missing: Box::new(missing.clone()) });
    }
    let fence = has_fence.then(|| fence(policy, places, rooms.is_some()));
    let engine = match (&rooms, &fence) {
        (Some(_), _) => "bubblewrap",
        (None, Some(_)) => "landlock",
        (None, None) => "none",
    };
    if let Some(first) = missing.first().filter(|_| tier < policy.least()) {
        let missing = Box::new(first.clone());
        return Err(SandboxRefused::Tier { found: tier, least: policy.least(), missing });
    }
    if let Some(shared) = shares_network {
        missing.push(shared);
        missing.extend((facts.landlock < SCOPES).then(abstract_sockets));
    }
    let (network, engine) = (policy.network, engine.to_owned());
    let (refused_calls, denials) = (None, Vec::new());
    let record = SandboxRecord { tier, engine, network, missing, refused_calls, denials };
    Ok(Plan { record, rooms, fence, filter: facts.seccomp })
}

/// Says how much of a sandbox this machine can make, and what is missing from a whole one.
#[must_use]
pub fn possible(facts: &HostFacts) -> (Tier, Vec<Missing>) {
    let no_rooms = no_rooms(facts);
    let no_fence = (facts.landlock == 0).then(no_landlock);
    let tier = match (&no_rooms, &no_fence) {
        (None, None) if facts.seccomp => Tier::Full,
        (Some(_), Some(_)) => Tier::None,
        _ => Tier::Reduced,
    };
    let missing = no_rooms.into_iter().chain(no_fence);
    (tier, missing.chain((!facts.seccomp).then(no_seccomp)).collect())
}

fn missing(layer: &str, why: impl Into<String>, advice: impl Into<String>) -> Missing {
    Missing { layer: layer.to_owned(), why: why.into(), advice: advice.into() }
}

/// Says why there are no namespaces.
fn no_rooms(facts: &HostFacts) -> Option<Missing> {
    const LAYER: &str = "namespaces";
    const CHANGE: &str = "an administrator can";
    if facts.bwrap.is_none() {
        let why = "bubblewrap is not installed";
        return Some(missing(LAYER, why, "install the package bubblewrap"));
    }
    if let Some(words) = &facts.refusal {
        let why = format!("bubblewrap says: {words}");
        return Some(missing(LAYER, why, "`trainyard doctor` tries again"));
    }
    let bar = facts.no_user_namespaces.filter(|_| !facts.is_privileged)?;
    let (why, advice) = match bar {
        UserNamespaceBar::AppArmor => (
            "AppArmor keeps programs without a profile from making user namespaces",
            "install the profile bwrap-userns-restrict of the package apparmor-profiles".to_owned(),
        ),
        UserNamespaceBar::Limit => {
            ("user.max_user_namespaces is 0", format!("{CHANGE} raise it with sysctl"))
        }
        UserNamespaceBar::Unprivileged => {
            ("kernel.unprivileged_userns_clone is 0", format!("{CHANGE} set it to 1 with sysctl"))
        }
    };
    Some(missing(LAYER, why, advice))
}

fn no_landlock() -> Missing {
    let advice = "start a kernel from 5.13 on with landlock in its list of security modules";
    missing("landlock", "the kernel has no Landlock", advice)
}

fn no_seccomp() -> Missing {
    let advice = "start a kernel with CONFIG_SECCOMP_FILTER";
    missing("system calls", "the kernel filters no system calls", advice)
}

fn abstract_sockets() -> Missing {
    let why = "this kernel's Landlock does not keep a run from abstract sockets of others";
    missing("abstract sockets", why, NARROWER)
}

/// Lists what is seen.
fn views(
    policy: &SandboxPolicy,
    network: &RoomNetwork,
    places: &Places,
    memory: Option<u64>,
) -> Vec<View> {
    let view = |at: &Path, what| View { at: at.to_owned(), what };
    let shown = |path: &Path| view(path, Seen::Shown(path.to_owned()));
    let mut views: Vec<View> = places.system.iter().map(|path| shown(path)).collect();
    views.extend(places.links.iter().map(|(at, to)| view(at, Seen::Link(to.clone()))));
    for (at, what) in [
        ("/proc", Seen::Processes),
        ("/dev", Seen::Devices),
        ("/dev/shm", Seen::Memory(policy.shm_bytes.or(memory))),
        ("/run", Seen::Empty),
        ("/sys", Seen::Shown("/sys".into())),
        ("/tmp", Seen::Given(places.temporary.join("tmp"))),
        ("/var/tmp", Seen::Given(places.temporary.join("var-tmp"))),
    ] {
        views.push(view(Path::new(at), what));
    }
    views.extend(COVERED.iter().map(|at| view(Path::new(at), Seen::Empty)));
    if *network != RoomNetwork::Machine {
        views.push(view(Path::new("/sys/class/net"), Seen::Empty));
    }
    if matches!(network, RoomNetwork::Connected(_)) && places.resolver.is_some() {
        views.push(view(Path::new(RESOLVER), Seen::Shown(places.temporary.join("resolv.conf"))));
    }
    views.extend(places.devices.iter().map(|at| view(at, Seen::Device)));
    if let Some(home) = home(places) {
        views.push(view(home, Seen::Given(home_in(&places.temporary))));
    }
    let is_seen = |path: &Path| is_of_system(places, path);
    views.extend(places.prefixes.iter().filter(|path| !is_seen(path)).map(|path| shown(path)));
    for Mount { source, at, writable } in &policy.mounts {
        let source = source.clone();
        views.push(view(at, if *writable { Seen::Given(source) } else { Seen::Shown(source) }));
    }
    views.push(view(&places.work, Seen::Given(places.work.clone())));
    // The last at a path counts, and what is in a directory comes after it.
    views.reverse();
    views.sort_by(|a, b| a.at.cmp(&b.at));
    views.dedup_by(|later, first| later.at == first.at);
    views
}

fn is_of_system(places: &Places, path: &Path) -> bool {
    let links = places.links.iter().map(|(at, _)| at);
    places.system.iter().chain(links).any(|seen| path.starts_with(seen))
}

/// Returns the home directory, unless something else is seen there.
fn home(places: &Places) -> Option<&Path> {
    let taken = |home: &Path| {
        is_of_system(places, home)
            || ["/dev", "/proc", "/sys", "/run", "/etc"].iter().any(|path| home.starts_with(path))
            || [&places.work, Path::new("/tmp"), Path::new("/var/tmp")]
                .iter()
                .any(|path| **path == *home)
    };
    places.home.as_deref().filter(|home| !taken(home))
}

/// Says which files may be touched. In rooms of its own all that is seen may be read.
fn fence(policy: &SandboxPolicy, places: &Places, in_rooms: bool) -> Fence {
    let given = policy.mounts.iter().filter(|mount| mount.writable);
    let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
    let mut write = vec![places.work.clone()];
    if in_rooms {
        write.extend(paths(&["/tmp", "/var/tmp", "/dev/shm"]));
        write.extend(home(places).map(Path::to_owned));
        write.extend(given.map(|mount| mount.at.clone()));
        return Fence { read: paths(&["/"]), write, devices: paths(&["/dev"]) };
    }
    write.push(places.temporary.clone());
    write.extend(paths(&["/dev/shm"]));
    write.extend(given.map(|mount| mount.source.clone()));
    let mut read = places.system.clone();
    read.extend(paths(&["/proc", "/sys"]));
    read.extend(places.prefixes.iter().cloned());
    read.extend(policy.mounts.iter().map(|mount| mount.source.clone()));
    let mut devices = paths(PLAIN_DEVICES);
    devices.extend(places.devices.iter().cloned());
    Fence { read, write, devices }
}

#[cfg(test)]
mod tests;
