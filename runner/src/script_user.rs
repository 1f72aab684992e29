//! Who scripts run as.

use std::path::{Path, PathBuf};

use nix::unistd::{self, Gid, Uid, User};
use serde::{Deserialize, Serialize};

/// Who scripts run as on a compute target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScriptUser {
    /// The name.
    pub name: String,
    /// The user.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// The home directory.
    pub home: PathBuf,
    /// The `TZ` of whoever starts supervisors there.
    pub time_zone: Option<String>,
    /// What carries out command lines.
    pub shell: String,
}

impl ScriptUser {
    /// The user that this process runs as, as the system's user database has it.
    #[must_use]
    pub fn current() -> Self {
        Self { gid: unistd::getegid().as_raw(), ..Self::of(unistd::geteuid().as_raw()) }
    }

    /// Returns who scripts in containers run as that `submitter` handed in: whoever handed them in where
    /// the agent may act for others, else the agent's own user.
    #[must_use]
    pub fn in_container(&self, submitter: u32) -> Self {
        if acts_for(self.uid, submitter) { Self::of(submitter) } else { self.clone() }
    }

    /// Returns `uid:gid`.
    #[must_use]
    pub fn ids(&self) -> String {
        format!("{}:{}", self.uid, self.gid)
    }

    /// The user with this number, as the system's user database has it.
    #[must_use]
    pub fn of(uid: u32) -> Self {
        let known = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        // A user without an entry has no group either; one of the same number is nobody else's as
        // a rule.
        let unknown = || (format!("uid{uid}"), "/".into(), Gid::from_raw(uid));
        let (name, home, gid) = known.map_or_else(unknown, |user| (user.name, user.dir, user.gid));
        // Azure's command jobs are lines for bash.
        let shell = if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
        let time_zone = std::env::var("TZ").ok();
        Self { name, uid, gid: gid.as_raw(), home, time_zone, shell: shell.to_owned() }
    }
}

/// Says whether an agent of `agent` runs containers as `submitter`.
fn acts_for(agent: u32, submitter: u32) -> bool {
    agent == 0 && submitter != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_acts_for_others() {
        assert!(acts_for(0, 1000));
        assert!(!acts_for(0, 0));
        assert!(!acts_for(1000, 0));
        assert!(!acts_for(1000, 1000));
    }

    #[test]
    fn a_user_without_an_entry_has_a_group_of_its_own() {
        let root = ScriptUser::of(0);
        assert_eq!((root.name.as_str(), root.ids().as_str()), ("root", "0:0"));

        let unknown = ScriptUser::of(2_000_000_111);
        assert_eq!(unknown.ids(), "2000000111:2000000111");
        assert_eq!(unknown.name, "uid2000000111");
    }
}
