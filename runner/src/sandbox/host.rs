//! What this machine has to make a sandbox of. Looks only; [`probe`](super::probe) tries.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::thread::{CapabilitySet, capabilities};
use serde::{Deserialize, Serialize};

use super::landlock;
use super::network::NetworkFacts;

/// Where bubblewrap is looked for: what the agent's user could put elsewhere is no fence.
const PROGRAMS: [&str; 3] = ["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"];

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostFacts {
    /// Where bubblewrap is.
    pub bwrap: Option<PathBuf>,
    /// Whether namespaces can be made without one for users.
    pub is_privileged: bool,
    /// Why this user cannot make a namespace for users, if that is known.
    pub no_user_namespaces: Option<UserNamespaceBar>,
    /// The version of Landlock, 0 without.
    pub landlock: u32,
    /// Whether the kernel filters system calls.
    pub seccomp: bool,
    /// What there is to make a network of.
    #[serde(default)]
    pub network: NetworkFacts,
    /// Why bubblewrap, which is there, did not make a sandbox when it was tried.
    pub refusal: Option<String>,
}

/// What keeps a user from making namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserNamespaceBar {
    /// AppArmor lets only programs with a profile do it, as since Ubuntu 23.10.
    AppArmor,
    /// `user.max_user_namespaces` is 0.
    Limit,
    /// `kernel.unprivileged_userns_clone` is 0, as in older Debian.
    Unprivileged,
}

impl HostFacts {
    /// Looks at this machine.
    #[must_use]
    pub fn look() -> Self {
        let effective = capabilities(None).map(|sets| sets.effective);
        let is_privileged = effective
            .is_ok_and(|set| set.contains(CapabilitySet::SYS_ADMIN | CapabilitySet::SETPCAP));
        Self {
            bwrap: PROGRAMS.map(PathBuf::from).into_iter().find(|path| path.is_file()),
            is_privileged,
            no_user_namespaces: bar(),
            landlock: landlock::version(),
            seccomp: Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
            network: NetworkFacts::look(),
            refusal: None,
        }
    }
}

fn bar() -> Option<UserNamespaceBar> {
    let number = |name: &str| {
        let text = fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    if number("user/max_user_namespaces") == Some(0) {
        return Some(UserNamespaceBar::Limit);
    }
    if number("kernel/unprivileged_userns_clone") == Some(0) {
        return Some(UserNamespaceBar::Unprivileged);
    }
    let is_restricted = number("kernel/apparmor_restrict_unprivileged_userns") == Some(1);
    // With a profile of its own bubblewrap may.
    let has_profile = ["bwrap-userns-restrict", "bwrap"]
        .iter()
        .any(|name| Path::new("/etc/apparmor.d").join(name).exists());
    (is_restricted && !has_profile).then_some(UserNamespaceBar::AppArmor)
}
