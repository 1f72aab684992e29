//! What the attempts go for: laid out outside, harmless, and gone with its owner.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;

use nix::libc;
use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::process_identity::ProcessIdentity;

/// What holds the word in the environment of whoever is outside.
pub(super) const VARIABLE: &str = "TRAINYARD_PROBE";

/// What an attempt is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Bait {
    /// What is found where an attempt succeeds; nobody can guess it.
    pub(super) word: String,
    /// A file that holds the word.
    pub(super) file: PathBuf,
    /// A descriptor of that file, which whoever is started inherits.
    pub(super) descriptor: i32,
    /// A directory that sandboxes are shown, to be read.
    pub(super) shown: PathBuf,
    /// A process.
    pub(super) process: ProcessIdentity,
    /// The number of shared memory of System V.
    pub(super) shared_memory: i32,
    /// Which namespace of host names the machine's is.
    pub(super) host_names: PathBuf,
    /// A port of the machine's loopback on which somebody listens; also on an abstract socket that
    /// is called by the word.
    pub(super) port: u16,
}

/// It, as long as it is kept.
#[derive(Debug)]
pub(super) struct LaidOut {
    pub(super) bait: Bait,
    _directory: TempDir,
    _file: File,
    _port: TcpListener,
    _socket: UnixListener,
    _shared_memory: SharedMemory,
}

/// Makes a directory that no sandbox shows: each has a `/tmp` of its own.
pub(super) fn directory() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("trainyard-probe-").tempdir_in("/tmp")
}

impl LaidOut {
    pub(super) fn new() -> io::Result<Self> {
        let word = format!("{:032x}", rand::random::<u128>());
        let directory = directory()?;
        let (path, shown) = (directory.path().join("file"), directory.path().join("shown"));
        fs::create_dir(&shown)?;
        fs::write(&path, &word)?;
        let file = File::open(&path)?;
        fcntl_setfd(file.as_fd(), FdFlags::empty())?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let socket = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&word)?)?;
        let shared_memory = SharedMemory::new()?;
        let bait = Bait {
            file: path,
            descriptor: file.as_raw_fd(),
            shown,
            process: ProcessIdentity::of_this_process().map_err(|error| error.source)?,
            shared_memory: shared_memory.id,
            host_names: fs::read_link("/proc/self/ns/uts")?,
            port: port.local_addr()?.port(),
            word,
        };
        Ok(Self {
            bait,
            _directory: directory,
            _file: file,
            _port: port,
            _socket: socket,
            _shared_memory: shared_memory,
        })
    }
}

/// A page of shared memory of System V that this process is attached to. It is marked to be removed
/// from the start, so that nothing of it stays whatever ends this process.
#[derive(Debug)]
pub(super) struct SharedMemory {
    id: i32,
    at: *mut libc::c_void,
}

impl SharedMemory {
    fn new() -> io::Result<Self> {
        // SAFETY: makes a page of memory that is in no address space yet.
        let id = unsafe { libc::shmget(libc::IPC_PRIVATE, 1, 0o600) };
        if id < 0 {
            return Err(io::Error::last_os_error());
        }
        let attached = Self::attach(id);
        // SAFETY: this command takes no memory of ours.
        unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
        attached
    }

    /// Attaches to that with the number `id`.
    pub(super) fn attach(id: i32) -> io::Result<Self> {
        // SAFETY: the kernel chooses an address at which there is nothing.
        let at = unsafe { libc::shmat(id, std::ptr::null(), libc::SHM_RDONLY) };
        if at.addr() == usize::MAX { Err(io::Error::last_os_error()) } else { Ok(Self { id, at }) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: it was attached here, and nobody has a reference into it.
        unsafe { libc::shmdt(self.at) };
    }
}
