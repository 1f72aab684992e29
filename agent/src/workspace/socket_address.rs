//! Addresses of unix sockets, however long their paths are.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use snapshots::path_error::{IoContext, PathError};

/// What `sockaddr_un` holds on Linux, less the closing NUL.
const LONGEST: usize = 107;

/// A path that `bind` and `connect` take for a socket.
///
/// A path that is too long for the system is reached through a descriptor of its directory,
/// which is held open as long as this lives.
#[derive(Debug)]
pub(crate) struct SocketAddress {
    path: PathBuf,
    _directory: Option<OwnedFd>,
}

impl SocketAddress {
    /// Makes `socket` usable as an address.
    ///
    /// # Errors
    ///
    /// Its directory cannot be opened.
    pub(crate) fn of(socket: &Path) -> Result<Self, PathError> {
        if socket.as_os_str().as_bytes().len() <= LONGEST {
            return Ok(Self { path: socket.to_owned(), _directory: None });
        }
        let parent = socket.parent().unwrap_or_else(|| Path::new("/"));
        let name = socket.file_name().unwrap_or_else(|| OsStr::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(parent, flags, Mode::empty()).context("open", parent)?;
        let through = format!("/proc/self/fd/{}", directory.as_raw_fd());
        Ok(Self { path: Path::new(&through).join(name), _directory: Some(directory) })
    }

    /// The path to hand to the system. Good while `self` lives.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_socket_deeper_than_the_system_allows_is_reached() {
        let home = tempfile::tempdir().unwrap();
        for depth in [0, 1, 3] {
            let directory = (0..depth).fold(home.path().to_owned(), |p, _| p.join("d".repeat(90)));
            std::fs::create_dir_all(&directory).unwrap();
            let socket = directory.join("agent.sock");

            let listening = SocketAddress::of(&socket).unwrap();
            let listener = UnixListener::bind(listening.path()).unwrap();
            let calling = SocketAddress::of(&socket).unwrap();
            let mut stream = UnixStream::connect(calling.path()).unwrap();

            stream.write_all(b"x").unwrap();
            let mut got = [0];
            listener.accept().unwrap().0.read_exact(&mut got).unwrap();
            assert_eq!(got, *b"x");
            assert!(socket.exists());
        }
    }

    #[test]
    fn a_long_path_without_a_directory_is_an_error_that_names_it() {
        let socket = Path::new("/nowhere").join("d".repeat(200)).join("agent.sock");

        let error = SocketAddress::of(&socket).unwrap_err();

        assert_eq!(error.path, socket.parent().unwrap());
    }
}
