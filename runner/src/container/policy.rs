//! What a container may see of the machine, and what the administrator allows beyond that. Pure.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Directories of the machine that no container sees, nor any directory that holds one of them.
const GUARDED: &[&str] = &[
    "/boot",
    "/dev",
    "/etc",
    "/proc",
    "/run",
    "/sys",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/run",
];

/// What the administrator allows containers beyond the default: `[docker] allow` of the
/// configuration.
///
/// An entry is the name of an option, as `--privileged`; one with its value, as
/// `--cap-add=SYS_PTRACE` or `--network=host`; or `--volume=/path` for that directory and all in
/// it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerPolicy {
    /// The entries.
    pub allowed: Vec<String>,
}

impl ContainerPolicy {
    /// Says whether the option `name` may have `value`.
    pub(super) fn allows(&self, name: &str, value: &str) -> bool {
        self.allowed.iter().any(|entry| match entry.split_once('=') {
            Some((option, allowed)) => option == name && allowed == value,
            None => entry == name,
        })
    }

    /// Says why `source` may not be seen by a run, if so. `source` is absolute, `home` is
    /// the state directory where it is known.
    #[must_use]
    pub fn refusal(&self, source: &Path, home: Option<&Path>) -> Option<String> {
        let source = resolved(source);
        if self.allowed.iter().any(|entry| {
            entry.strip_prefix("--volume=").is_some_and(|allowed| {
                allowed.starts_with('/') && source.starts_with(resolved(Path::new(allowed)))
            })
        }) {
            return None;
        }
        if source.file_name().is_some_and(|name| name == "docker.sock" || name == "podman.sock") {
            return Some("whoever reaches the engine's socket is root on the machine".to_owned());
        }
        for guarded in GUARDED.iter().map(Path::new).chain(home) {
            if source.starts_with(guarded) {
                return Some(format!("{} is the machine's own", guarded.display()));
            }
            if guarded.starts_with(&source) {
                let guarded = guarded.display();
                return Some(format!("{guarded} is in it, which is the machine's own"));
            }
        }
        None
    }
}

/// Takes `.` and `..` out of an absolute path, without a look at the disk.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowed: &[&str]) -> ContainerPolicy {
        ContainerPolicy { allowed: allowed.iter().map(|&entry| entry.to_owned()).collect() }
    }

    #[test]
    fn what_is_the_machines_own_is_not_seen() {
        let home = Some(Path::new("/home/ana/.local/state/trainyard"));
        let mut table = String::new();
        for source in [
            "/data",
            "/home/ana/data",
            "/etcetera",
            "/srv/../data",
            "/",
            "//",
            "/.",
            "/data/..",
            "/data/../../../etc",
            "/etc",
            "/etc/",
            "//etc",
            "/./etc/./passwd",
            "/var",
            "/var/run/docker.sock",
            "/srv/docker.sock",
            "/run/user/1000/docker.sock",
            "/var/lib",
            "/proc/self/root",
            "/dev/mem",
            "/home",
            "/home/ana",
            "/home/ana/.local/state/trainyard/runs",
        ] {
            let refusal = policy(&[]).refusal(Path::new(source), home);
            table += &format!("{source:40} {}\n", refusal.unwrap_or_else(|| "-".to_owned()));
        }
        insta::assert_snapshot!(table, @r#"
        /data                                    -
        /home/ana/data                           -
        /etcetera                                -
        /srv/../data                             -
        /                                        /boot is in it, which is the machine's own
        //                                       /boot is in it, which is the machine's own
        /.                                       /boot is in it, which is the machine's own
        /data/..                                 /boot is in it, which is the machine's own
        /data/../../../etc                       /etc is the machine's own
        /etc                                     /etc is the machine's own
        /etc/                                    /etc is the machine's own
        //etc                                    /etc is the machine's own
        /./etc/./passwd                          /etc is the machine's own
        /var                                     /var/lib/containerd is in it, which is the machine's own
        /var/run/docker.sock                     whoever reaches the engine's socket is root on the machine
        /srv/docker.sock                         whoever reaches the engine's socket is root on the machine
        /run/user/1000/docker.sock               whoever reaches the engine's socket is root on the machine
        /var/lib                                 /var/lib/containerd is in it, which is the machine's own
        /proc/self/root                          /proc is the machine's own
        /dev/mem                                 /dev is the machine's own
        /home                                    /home/ana/.local/state/trainyard is in it, which is the machine's own
        /home/ana                                /home/ana/.local/state/trainyard is in it, which is the machine's own
        /home/ana/.local/state/trainyard/runs    /home/ana/.local/state/trainyard is the machine's own
        "#);
    }

    #[test]
    fn what_is_allowed_by_name_is_seen_and_no_more() {
        let policy = policy(&["--volume=/etc/ssl", "--volume=relative", "--volume", "--cap-add=X"]);

        for (source, seen) in [
            ("/etc/ssl", true),
            ("/etc/ssl/certs", true),
            ("/etc/ssl/../shadow", false),
            ("/etc/ssl2", false),
            ("/etc", false),
        ] {
            assert_eq!(policy.refusal(Path::new(source), None).is_none(), seen, "{source}");
        }
        assert!(policy.allows("--cap-add", "X") && !policy.allows("--cap-add", "Y"));
        assert!(!policy.allows("--cap", "X"));
    }
}
