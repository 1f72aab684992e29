//! Whether the file system lets us to a socket: "no agent answers" is said only where one could.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::unistd::{Group, getegid, getgroups};
use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::ClientError;

/// Checks that `socket`, if it is there, may be connected to.
///
/// # Errors
///
/// [`ClientError::NotAllowed`]: it may not, or we may not see whether it is there.
pub(super) fn check(socket: &Path) -> Result<(), ClientError> {
    if access(socket, Access::WRITE_OK) != Err(Errno::ACCESS) {
        return Ok(());
    }
    let group = gate(socket).and_then(|(found, bit)| group_that_may(&found, bit));
    Err(ClientError::NotAllowed { socket: socket.to_owned(), group })
}

/// Finds what turns us away: the first directory on the way that we may not enter, or the socket;
/// with the bit of its mode that lets its group pass.
fn gate(socket: &Path) -> Option<(Metadata, u32)> {
    let mut directories: Vec<_> = socket.ancestors().skip(1).collect();
    directories.reverse();
    let closed = directories.into_iter().find(|it| access(*it, Access::EXEC_OK).is_err());
    match closed {
        Some(directory) => Some((directory.metadata().ok()?, 0o010)),
        None => Some((socket.metadata().ok()?, 0o020)),
    }
}

/// Returns the group of `found` if its members may pass and we are not one of them.
fn group_that_may(found: &Metadata, bit: u32) -> Option<String> {
    let is_ours = getegid().as_raw() == found.gid()
        || getgroups().ok()?.iter().any(|group| group.as_raw() == found.gid());
    if is_ours || found.permissions().mode() & bit == 0 {
        return None;
    }
    Group::from_gid(found.gid().into()).ok().flatten().map(|group| group.name)
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::chown;
    use std::os::unix::net::UnixListener;

    use rustix::process::Uid;
    use rustix::thread::set_thread_res_uid;

    use super::*;

    /// What a stranger is told of the socket.
    fn told(socket: &Path) -> Option<String> {
        let told = std::thread::scope(|scope| {
            let stranger = scope.spawn(|| {
                let uid = Uid::from_raw(61_001);
                set_thread_res_uid(uid, uid, uid).unwrap();
                check(socket).err().map(|error| error.to_string())
            });
            stranger.join().unwrap()
        });
        told.map(|told| told.replace(socket.to_str().unwrap(), "SOCKET"))
    }

    #[test]
    fn whoever_is_not_let_in_hears_by_which_group_they_would_be() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let outside = tempfile::tempdir().unwrap();
        let directory = outside.path().join("trainyard");
        std::fs::create_dir(&directory).unwrap();
        let socket = directory.join("agent.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        let mode = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode)).unwrap();
        mode(outside.path(), 0o755);
        // The group `daemon` is on every Linux system, and nobody here is in it.
        chown(&directory, Some(0), Some(1)).unwrap();
        chown(&socket, Some(0), Some(1)).unwrap();

        let expected =
            "permission denied: you are not in group daemon, whose agent answers on \"SOCKET\"";
        for (of_directory, of_socket) in [(0o750, 0o660), (0o755, 0o660)] {
            mode(&directory, of_directory);
            mode(&socket, of_socket);
            assert_eq!(told(&socket).as_deref(), Some(expected));
        }
        mode(&socket, 0o600);
        let nobody = "permission denied: you may not connect to the agent on \"SOCKET\"";
        assert_eq!(told(&socket).as_deref(), Some(nobody));
        mode(&socket, 0o666);
        assert_eq!(told(&socket), None);
        assert_eq!(told(&directory.join("none.sock")), None);
    }
}
