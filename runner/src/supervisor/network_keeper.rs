//! The supervisor's end of the keeper of a sandbox's network.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::supervisor::sandboxed::{in_memory, said};
use crate::supervisor::script::detach;

/// How long a network may take to be made, in seconds.
const PATIENCE: i64 = 20;

/// What the keeper made.
#[derive(Debug)]
pub(crate) struct Namespaces {
    pub(crate) way_in: WayIn,
    /// Becomes readable when the network is connected, and ends without a byte if it never is.
    pub(crate) connected: OwnedFd,
}

/// How a process enters a network.
#[derive(Debug)]
pub(crate) struct WayIn {
    /// The namespace of users that it belongs to.
    pub(crate) user: OwnedFd,
    /// Its own.
    pub(crate) network: OwnedFd,
}

impl WayIn {
    /// Enters the network and its user namespace. Makes system calls only.
    pub(crate) fn enter(&self) -> io::Result<()> {
        move_into_link_name_space(self.user.as_fd(), Some(LinkNameSpaceType::User))?;
        move_into_link_name_space(self.network.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(())
    }
}

impl Namespaces {
    /// Sends them to whoever has the other end of `socket`.
    pub(crate) fn send(&self, socket: &OwnedFd) -> io::Result<()> {
        let WayIn { user, network } = &self.way_in;
        let fds = [user.as_fd(), network.as_fd(), self.connected.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        sendmsg(socket, &[IoSlice::new(b"made")], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    fn receive(socket: &OwnedFd) -> io::Result<Option<Self>> {
        let mut bytes = [0; 8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags)?;
        let mut fds: Vec<OwnedFd> = ancillary
            .drain()
            .flat_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => fds.collect::<Vec<_>>(),
                _ => Vec::new(),
            })
            .collect();
        let (Some(connected), Some(network), Some(user)) = (fds.pop(), fds.pop(), fds.pop()) else {
            return Ok(None);
        };
        Ok(Some(Self { way_in: WayIn { user, network }, connected }))
    }
}

/// The keeper of a network. Call [`close`](Self::close) when the run is over; until then, the
/// network is there.
#[derive(Debug)]
pub(crate) struct NetworkKeeper {
    child: Child,
    socket: OwnedFd,
    words: File,
}

impl NetworkKeeper {
    /// Starts it. It dies with this process.
    pub(crate) fn start(pasta: &Path) -> io::Result<Self> {
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let words = in_memory("words", b"")?;
        let stage = File::open("/proc/self/exe")?;
        let mut command = Command::new(format!("/proc/self/fd/{}", stage.as_raw_fd()));
        command.arg("sandboxed-network").arg(theirs.as_raw_fd().to_string()).arg(pasta);
        command.env_clear().current_dir(Path::new("/"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(words.try_clone()?);
        let mut detach = detach(None);
        let pass = move || {
            for fd in [theirs.as_fd(), stage.as_fd()] {
                fcntl_setfd(fd, FdFlags::empty())?;
            }
            detach()
        };
        // SAFETY: the closure makes a few system calls and touches no memory that another thread
        // could hold a lock on: it neither allocates nor panics.
        unsafe { command.pre_exec(pass) };
        Ok(Self { child: command.spawn()?, socket, words })
    }

    /// Waits for what it makes.
    ///
    /// # Errors
    ///
    /// Why there is none, in its own words.
    pub(crate) fn namespaces(&mut self) -> Result<Namespaces, String> {
        let patience = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        if poll(&mut fds, Some(&patience)).is_ok_and(|ready| ready == 0) {
            return Err(format!("it was not there within {PATIENCE} s"));
        }
        match Namespaces::receive(&self.socket) {
            Ok(Some(made)) => Ok(made),
            Ok(None) => Err(self.words()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Returns the number of the process.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Returns what it and pasta said.
    pub(crate) fn words(&mut self) -> String {
        match said(&mut self.words) {
            words if words.is_empty() => "it ended without a word".to_owned(),
            words => words,
        }
    }

    /// Has it end pasta, and waits until both are gone.
    pub(crate) fn close(mut self) {
        drop(self.socket);
        // Reaped already where all children were.
        let _reaped = self.child.wait();
    }
}
