//! The socket that systemd opened for this process, as `sd_listen_fds(3)` has it.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::AddressFamily;
use rustix::net::sockopt;

/// The first descriptor that is passed.
const FIRST: i32 = 3;

/// Takes the socket that was passed to this process, if one was. Only the first call gets it.
/// Programs that are started from here do not inherit it.
///
/// # Errors
///
/// More than one was passed, or it is not a unix socket that listens.
pub fn take(variable: impl Fn(&str) -> Option<OsString>) -> io::Result<Option<UnixListener>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name| variable(name)?.to_str()?.parse::<u32>().ok();
    // The variables are inherited; the descriptors are meant for one process.
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(None);
    }
    match number("LISTEN_FDS") {
        None | Some(0) => return Ok(None),
        Some(1) => {}
        Some(_) => return Err(io::Error::other("more than one socket was passed")),
    }
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(None);
    }
    // SAFETY: the variables say that whoever started this process opened the descriptor for it, so
    // nothing else here owns it; it is taken once.
    let socket = unsafe { OwnedFd::from_raw_fd(FIRST) };
    check(&socket)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    Ok(Some(socket.into()))
}

/// Sees to it that `socket` is what connections can be accepted on.
fn check(socket: impl AsFd) -> io::Result<()> {
    let is_unix = sockopt::socket_domain(&socket)? == AddressFamily::UNIX;
    if is_unix && sockopt::socket_acceptconn(&socket)? {
        Ok(())
    } else {
        Err(io::Error::other("what was passed is not a unix socket that listens"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(variables: &[(&str, String)]) -> io::Result<Option<UnixListener>> {
        take(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.into())
        })
    }

    #[test]
    fn what_is_meant_for_another_process_is_left_alone() {
        let own = std::process::id().to_string();
        let set = |pid: &str, count: &str| {
            taken(&[("LISTEN_PID", pid.to_owned()), ("LISTEN_FDS", count.to_owned())])
        };

        assert!(taken(&[]).unwrap().is_none());
        assert!(set("1", "1").unwrap().is_none());
        assert!(set(&own, "0").unwrap().is_none());
        assert!(set(&own, "two").unwrap().is_none());
        let error = set(&own, "2").unwrap_err();
        assert_eq!(error.to_string(), "more than one socket was passed");
    }

    #[test]
    fn only_a_unix_socket_that_listens_will_do() {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let (connected, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();

        check(&listener).unwrap();
        check(&connected).unwrap_err();
        check(&tcp).unwrap_err();
        check(&file).unwrap_err();
    }
}
