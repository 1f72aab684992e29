//! Which cgroups a process is in, and under which of them a run's can be made. Pure.
//!
//! Version 2 is one tree with all controllers; version 1 is a tree for each, and machines of the
//! time between have both, where a controller is in one of them only.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The version of a tree of cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// A tree for each controller, or for a few.
    V1,
    /// One tree for all.
    V2,
}

/// What of a cgroup limits and counts something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// Memory, and swap with it.
    Memory,
    /// Processor time.
    Cpu,
    /// Processes and threads.
    Pids,
}

impl Controller {
    /// Every one that runs are given.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    /// Returns the kernel's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }

    /// Returns those of [`ALL`](Self::ALL) that are in a list of names.
    pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        let names: Vec<_> = names.into_iter().collect();
        Self::ALL.into_iter().filter(|known| names.contains(&known.name())).collect()
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A tree of cgroups as one process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Its version.
    pub(super) version: Version,
    /// The controllers it is for; of version 2 the kernel's files say which there are.
    pub(super) controllers: Vec<Controller>,
    /// Where it is mounted.
    pub(super) root: PathBuf,
    /// The cgroup that the process is in.
    pub(super) own: PathBuf,
}

impl Hierarchy {
    /// Returns the cgroups that a run's can be made in, the best first: that of the process, and
    /// in version 2 those above, since one that holds processes gives no controllers on.
    pub(super) fn bases(&self) -> impl Iterator<Item = &Path> {
        let count = match self.version {
            Version::V1 => 1,
            Version::V2 => usize::MAX,
        };
        self.own.ancestors().take_while(|path| path.starts_with(&self.root)).take(count)
    }
}

/// Reads which trees a process is in, from its `/proc/PID/cgroup` and `/proc/self/mountinfo`.
///
/// Left out are those that are of no use to runs, and those whose cgroup is not below a mount, as
/// in a container that is shown another part.
#[must_use]
pub(super) fn hierarchies(own: &str, mounts: &str) -> Vec<Hierarchy> {
    let mounts: Vec<Mount> = mounts.lines().filter_map(Mount::parse).collect();
    let mut found: Vec<_> = own.lines().filter_map(|line| hierarchy(line, &mounts)).collect();
    found.sort_by_key(|tree| std::cmp::Reverse(tree.version));
    found
}

/// Reads a line such as `4:memory:/user.slice` or, of version 2, `0::/user.slice`.
fn hierarchy(line: &str, mounts: &[Mount]) -> Option<Hierarchy> {
    let mut fields = line.splitn(3, ':');
    let (number, names, path) = (fields.next()?, fields.next()?, fields.next()?);
    let (version, controllers) = match (number, names) {
        ("0", "") => (Version::V2, Vec::new()),
        _ => (Version::V1, Controller::listed(names.split(','))),
    };
    if version == Version::V1 && controllers.is_empty() {
        return None;
    }
    let holds = |mount: &&Mount| {
        mount.version == version
            && controllers.first().is_none_or(|first| mount.options.contains_key(first.name()))
    };
    mounts.iter().filter(holds).find_map(|mount| {
        let below = Path::new(path).strip_prefix(&mount.shows).ok()?;
        let climbs = below.components().any(|part| part == std::path::Component::ParentDir);
        let own =
            if below.as_os_str().is_empty() { mount.at.clone() } else { mount.at.join(below) };
        let root = mount.at.clone();
        (!climbs).then(|| Hierarchy { version, controllers: controllers.clone(), root, own })
    })
}

/// A mounted tree of cgroups.
struct Mount {
    version: Version,
    /// Which part of the tree is seen there.
    shows: PathBuf,
    at: PathBuf,
    options: BTreeMap<String, ()>,
}

impl Mount {
    /// Reads a line of mountinfo, as in proc_pid_mountinfo(5).
    fn parse(line: &str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut kind = file_system.split(' ');
        let version = match kind.next()? {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => return None,
        };
        let options = kind.nth(1)?.split(',').map(|name| (name.to_owned(), ())).collect();
        let mut fields = mount.split(' ').skip(3);
        let (shows, at) = (unescape(fields.next()?), unescape(fields.next()?));
        Some(Self { version, shows, at, options })
    }
}

/// Undoes `\040` for a space and its like.
fn unescape(text: &str) -> PathBuf {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|code| u8::from_str_radix(code, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                plain.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                plain.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    PathBuf::from(plain + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prints what is found, a line for each tree with the places for a run's cgroup.
    fn shown(own: &str, mounts: &str) -> String {
        let line = |tree: &Hierarchy| {
            let names: Vec<_> = tree.controllers.iter().map(ToString::to_string).collect();
            let bases: Vec<_> = tree.bases().map(|path| path.display().to_string()).collect();
            format!("{:?} [{}] {}\n", tree.version, names.join(" "), bases.join(" "))
        };
        hierarchies(own, mounts).iter().map(line).collect()
    }

    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev - cgroup2 cgroup2 rw,nsdelegate";

    #[test]
    fn a_login_of_a_user_on_version_2() {
        let own = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope\n";
        insta::assert_snapshot!(shown(own, V2), @"V2 [] /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service /sys/fs/cgroup/user.slice/user-1000.slice /sys/fs/cgroup/user.slice /sys/fs/cgroup");
    }

    #[test]
    fn a_service_on_version_2() {
        let own = "0::/system.slice/trainyard.service/agent\n";
        insta::assert_snapshot!(shown(own, V2), @"V2 [] /sys/fs/cgroup/system.slice/trainyard.service/agent /sys/fs/cgroup/system.slice/trainyard.service /sys/fs/cgroup/system.slice /sys/fs/cgroup");
    }

    #[test]
    fn version_1_with_several_controllers_in_one_tree() {
        let own = "\
            12:pids:/user.slice/user-0.slice\n11:memory:/user.slice\n\
            5:cpu,cpuacct:/\n3:devices:/\n1:name=systemd:/user.slice/session-1.scope\n";
        let mounts = "\
            25 22 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n\
            26 25 0:23 / /sys/fs/cgroup/systemd rw shared:5 - cgroup cgroup rw,xattr,name=systemd\n\
            27 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw shared:7 - cgroup cgroup rw,cpu,cpuacct\n\
            28 25 0:25 / /sys/fs/cgroup/memory rw shared:8 - cgroup cgroup rw,memory\n\
            29 25 0:26 / /sys/fs/cgroup/pids rw shared:9 - cgroup cgroup rw,pids\n";
        insta::assert_snapshot!(shown(own, mounts), @"
        V1 [pids] /sys/fs/cgroup/pids/user.slice/user-0.slice
        V1 [memory] /sys/fs/cgroup/memory/user.slice
        V1 [cpu] /sys/fs/cgroup/cpu,cpuacct
        ");
    }

    #[test]
    fn both_versions_at_once() {
        let own = "4:memory:/a/b\n2:cpuset:/\n0::/c\n";
        let mounts = "\
            35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        insta::assert_snapshot!(shown(own, mounts), @"
        V2 [] /sys/fs/cgroup/unified/c /sys/fs/cgroup/unified
        V1 [memory] /sys/fs/cgroup/memory/a/b
        ");
    }

    #[test]
    fn a_container_sees_its_part_only() {
        // Of version 1, with the path of the machine; of version 2, with one of its own.
        let mounts = "\
            50 49 0:32 /docker/4f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
            51 49 0:33 / /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n";
        insta::assert_snapshot!(shown("4:memory:/docker/4f\n3:pids:/../..\n", mounts), @"V1 [memory] /sys/fs/cgroup/memory");
        insta::assert_snapshot!(shown("0::/\n", V2), @"V2 [] /sys/fs/cgroup");
        assert_eq!(shown("0::/../other\n", V2), "", "outside of what is seen");
        assert_eq!(shown("4:memory:/elsewhere\n", mounts), "");
        assert_eq!(shown("", ""), "");
        assert_eq!(shown("nonsense\n1:\n0::/\n", "nonsense\n"), "");
    }

    #[test]
    fn a_mount_may_be_anywhere() {
        let mounts = r"30 23 0:26 / /my\040groups\134x rw - cgroup2 none rw";
        insta::assert_snapshot!(shown("0::/a\n", mounts), @r"V2 [] /my groups\x/a /my groups\x");
    }
}
