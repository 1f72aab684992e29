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
    /// A narrower network takes a namespace.
    #[error("a network of {network} takes namespaces, which cannot be had here: {}; {}", missing.why, missing.advice)]
    Network {
        /// What was asked for.
        network: Network,
        /// Why not.
        missing: Box<Missing>,
    },
}

/// Plans a sandbox; `memory` is what its `/dev/shm` may hold, in bytes.
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
    let record = SandboxRecord { tier, engine, network, missing, denials: Vec::new() };
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
        ("/dev/shm", Seen::Memory(memory)),
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
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::sandbox::bwrap;
    use crate::sandbox::network::{NetworkFacts, Reach};
    use crate::sandbox::policy::SandboxMode;

    fn facts() -> HostFacts {
        HostFacts {
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
        }
    }

    fn policy(mode: SandboxMode, network: Network, minimum: Tier) -> SandboxPolicy {
        let mounts = vec!["/data".parse().unwrap(), "/out:/in/out:rw".parse().unwrap()];
        SandboxPolicy { mode, network, mounts, minimum }
    }

    fn places() -> Places {
        Places {
            system: ["/usr", "/etc/passwd"].map(PathBuf::from).to_vec(),
            links: vec![("/bin".into(), "usr/bin".into())],
            prefixes: ["/home/ana/venv", "/usr/local"].map(PathBuf::from).to_vec(),
            devices: vec!["/dev/nvidia0".into()],
            work: "/home/ana/state/runs/r/work".into(),
            temporary: "/home/ana/state/runs/r/tmp".into(),
            home: Some("/home/ana".into()),
            resolver: Some("nameserver 192.0.0.8\n".to_owned()),
        }
    }

    #[test]
    fn what_a_machine_has_decides_the_tier_and_what_is_missing_is_said() {
        type Change = fn(&mut HostFacts);
        let machines: [(&str, Change); 10] = [
            ("all there is", |_| {}),
            ("root", |facts| {
                facts.is_privileged = true;
                facts.no_user_namespaces = Some(UserNamespaceBar::Limit);
            }),
            ("no bubblewrap", |facts| facts.bwrap = None),
            ("AppArmor", |facts| facts.no_user_namespaces = Some(UserNamespaceBar::AppArmor)),
            ("a limit of 0", |facts| facts.no_user_namespaces = Some(UserNamespaceBar::Limit)),
            ("refused", |facts| facts.refusal = Some("setting up uid map".to_owned())),
            ("an old Landlock", |facts| facts.landlock = 3),
            ("no pasta", |facts| facts.network.pasta = None),
            ("no pasta and an old Landlock", |facts| {
                facts.network.pasta = None;
                facts.landlock = 3;
            }),
            ("nothing", |facts| {
                facts.bwrap = None;
                facts.landlock = 0;
                facts.seccomp = false;
            }),
        ];
        let mut table = String::new();
        for (name, change) in machines {
            let mut facts = facts();
            change(&mut facts);
            for (network, least) in [
                (Network::Full, Tier::None),
                (Network::Full, Tier::Full),
                (Network::None, Tier::None),
            ] {
                let policy = policy(SandboxMode::Default, network, least);
                let said = match plan(&policy, &facts, &places(), None) {
                    Ok(Plan { record, .. }) => {
                        let missing: Vec<_> =
                            record.missing.iter().map(|one| one.layer.as_str()).collect();
                        format!("{} by {}, without {missing:?}", record.tier, record.engine)
                    }
                    Err(refused) => refused.to_string(),
                };
                table += &format!("{name}, network {network}, at least {least}: {said}\n");
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn strict_is_all_or_nothing() {
        let facts = HostFacts { landlock: 0, ..facts() };
        let policy = policy(SandboxMode::Strict, Network::Full, Tier::None);

        let refused = plan(&policy, &facts, &places(), None).unwrap_err();

        assert!(matches!(refused, SandboxRefused::Tier { least: Tier::Full, .. }), "{refused}");
    }

    #[test]
    fn each_view_comes_after_what_it_is_in() {
        let shown = |privileged, network| {
            let facts = HostFacts { is_privileged: privileged, ..facts() };
            let policy = policy(SandboxMode::Default, network, Tier::Full);
            let plan = plan(&policy, &facts, &places(), Some(1 << 30)).unwrap();
            let arguments = bwrap::arguments(plan.rooms.as_ref().unwrap());
            let words: Vec<String> = arguments
                .iter()
                .map(|word: &OsString| word.to_string_lossy().into_owned())
                .collect();
            let fence = plan.fence.unwrap();
            format!(
                "{}\nread {:?}\nwrite {:?}\ndevices {:?}\n",
                words.join(" ").replace(" --", "\n--"),
                fence.read,
                fence.write,
                fence.devices
            )
        };

        insta::assert_snapshot!(shown(false, Network::None));
        insta::assert_snapshot!(shown(true, Network::Full));
        insta::assert_snapshot!(shown(true, Network::Loopback));
    }

    #[test]
    fn without_rooms_the_fence_names_all_that_may_be_read() {
        let facts = HostFacts { bwrap: None, ..facts() };
        let policy = policy(SandboxMode::Default, Network::Full, Tier::None);

        let plan = plan(&policy, &facts, &places(), None).unwrap();

        let fence = plan.fence.unwrap();
        assert_eq!(plan.rooms, None);
        assert!(!fence.read.contains(&PathBuf::from("/")));
        let write =
            ["/home/ana/state/runs/r/work", "/home/ana/state/runs/r/tmp", "/dev/shm", "/out"];
        assert_eq!(fence.write, write.map(PathBuf::from));
    }
}
