//! The users and groups of this machine. All calls block: the directory of a site may be asked.

use std::ffi::CString;

use nix::unistd::{Group, User, getgrouplist};

/// Returns what a user is called, if the machine knows them.
pub(crate) fn name_of(uid: u32) -> Option<String> {
    User::from_uid(uid.into()).ok().flatten().map(|user| user.name)
}

/// Says whether a user is in a group, as of now: what the database says, whatever groups they had
/// when they logged in. Where it cannot be told, they are not.
pub(crate) fn is_member(uid: u32, group: &str) -> bool {
    let group = Group::from_name(group).ok().flatten();
    group.is_some_and(|group| has_group(uid, group.gid.as_raw()))
}

/// As [`is_member`], of the group with that number.
pub(crate) fn has_group(uid: u32, gid: u32) -> bool {
    let known = || {
        let user = User::from_uid(uid.into()).ok()??;
        let groups = getgrouplist(&CString::new(user.name).ok()?, user.gid).ok()?;
        Some(groups.contains(&gid.into()))
    };
    known().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_unknown_is_in_no_group() {
        assert!(is_member(0, "root"));
        assert!(!is_member(0, "no-such-group"));
        assert!(!is_member(4_000_000_000, "root"));
        assert_eq!(name_of(0).as_deref(), Some("root"));
        assert_eq!(name_of(4_000_000_000), None);
    }
}
