//! Whoever asks the agent, and whose things they may see and change.
//!
//! There are two kinds of them: those who rule the agent, and users, for whom there are only their
//! own runs, snapshots and targets. What others have is answered with the words for what does not
//! exist.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::user_database;

/// The group whose members rule the agent, where nothing else is set.
pub(crate) const ADMINISTRATORS: &str = "trainyard-admin";

/// Who is at the other end, as the system says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The user.
    pub(crate) uid: u32,
    /// Whether they see and change what is others', and stop and drain the agent.
    pub(crate) rules: bool,
}

/// Whose things are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One user's.
    Of(u32),
    /// Everybody's.
    All,
}

impl Peer {
    /// Says who `uid` is to the agent of `owner`: root, the owner and the members of `group` rule
    /// it. Asks the machine's user database, never the peer. Blocks.
    pub(crate) fn of(uid: u32, owner: u32, group: &str) -> Self {
        let rules = is_owner(uid, owner) || user_database::is_member(uid, group);
        Self { uid, rules }
    }

    /// Returns whose things this peer may see and change.
    pub(crate) fn scope(self) -> Scope {
        if self.rules { Scope::All } else { Scope::Of(self.uid) }
    }

    /// Returns where what this peer calls a run is looked for, one after the other: their own go
    /// before those of others.
    pub(crate) fn scopes(self) -> impl Iterator<Item = Scope> {
        std::iter::once(Scope::Of(self.uid)).chain(self.rules.then_some(Scope::All))
    }
}

impl Scope {
    /// Says whether what belongs to `uid` is meant.
    pub(crate) fn has(self, uid: u32) -> bool {
        match self {
            Self::Of(user) => user == uid,
            Self::All => true,
        }
    }

    /// Returns the one user whose things are meant.
    pub(crate) fn uid(self) -> Option<u32> {
        match self {
            Self::Of(uid) => Some(uid),
            Self::All => None,
        }
    }
}

/// Says whether the owner, group and mode of the agent's socket let `uid` connect. Who may not gets
/// no further with a token: whoever leaves the group has left, with all that they made. Blocks.
pub(crate) fn may_connect(socket: &Metadata, uid: u32) -> bool {
    let mode = socket.permissions().mode();
    uid == 0
        || mode & 0o002 != 0
        || (mode & 0o200 != 0 && uid == socket.uid())
        || (mode & 0o020 != 0 && user_database::has_group(uid, socket.gid()))
}

/// Says whether `uid` is root or `owner`, the agent's own user.
pub(crate) fn is_owner(uid: u32, owner: u32) -> bool {
    uid == owner || uid == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_the_owner_and_the_group_rule_and_nobody_else() {
        let rules = |uid, group| Peer::of(uid, 1000, group).rules;

        assert!(rules(0, "no-such-group") && rules(1000, "no-such-group"));
        assert!(!rules(1, "no-such-group"));
        // `daemon` is in the group of its name on every Linux system.
        assert!(rules(1, "daemon"));
        assert!(!rules(4_000_000_000, "daemon"));
    }

    #[test]
    fn what_the_sockets_mode_says_holds_for_tokens_too() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let socket = tempfile::NamedTempFile::new().unwrap();
        // `daemon` is in the group of its name on every Linux system, and nobody knows 61001.
        std::os::unix::fs::chown(socket.path(), Some(61_001), Some(1)).unwrap();
        let admitted = |mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(socket.path(), permissions).unwrap();
            let found = socket.path().metadata().unwrap();
            [0, 61_001, 1, 61_002].map(|uid| may_connect(&found, uid))
        };

        assert_eq!(admitted(0o600), [true, true, false, false]);
        assert_eq!(admitted(0o660), [true, true, true, false]);
        assert_eq!(admitted(0o666), [true; 4]);
        assert_eq!(admitted(0o444), [true, false, false, false]);
    }

    #[test]
    fn a_user_means_their_own_and_a_ruler_theirs_first() {
        let (user, ruler) = (Peer { uid: 7, rules: false }, Peer { uid: 7, rules: true });

        assert!(user.scope().has(7) && !user.scope().has(8));
        assert!(ruler.scope().has(7) && ruler.scope().has(8));
        assert!(user.scopes().eq([Scope::Of(7)]));
        assert!(ruler.scopes().eq([Scope::Of(7), Scope::All]));
    }
}
