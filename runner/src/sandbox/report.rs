//! What the inner stage of a sandbox tells the supervisor: one packet a message, over a socket
//! that the script never has.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, send, sendmsg, socketpair,
    sockopt,
};
use serde::{Deserialize, Serialize};

/// What the script's first process says before it becomes the script. The kernel adds its number,
/// as the reader counts them.
const HERE: &[u8] = b"here";

/// The longest message.
const LONGEST: usize = 4096;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The process that becomes the script is there.
    Here {
        /// Its number.
        pid: i32,
    },
    /// System calls are filtered; the descriptor that comes with this tells which are refused.
    Filtered,
    /// The network that was waited for is not there: nothing was started.
    NotConnected,
    /// A layer of the sandbox could not be had: nothing was started.
    NotSetUp {
        /// Which, and why.
        message: String,
    },
    /// The program could not be executed.
    NotStarted {
        /// The kernel's number for why.
        errno: i32,
    },
    /// The script runs.
    Started,
    /// Its main process ended by itself.
    Code {
        /// With this code.
        code: i32,
    },
    /// A signal ended its main process.
    Signal {
        /// Which.
        signal: i32,
    },
}

/// A message, with what came with it.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) report: Report,
    pub(crate) descriptor: Option<OwnedFd>,
}

/// Makes both ends: the supervisor's and the inner stage's.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    sockopt::set_socket_passcred(&ours, true)?;
    Ok((ours, theirs))
}

/// Says that the calling process is the one that becomes the script. Makes a system call only.
pub(crate) fn say_here(socket: impl AsFd) -> io::Result<()> {
    send(socket, HERE, SendFlags::NOSIGNAL)?;
    Ok(())
}

impl Report {
    /// Sends it. That nobody listens any more is no matter: the end is near then.
    pub(crate) fn say(&self, socket: impl AsFd) {
        let mut text = serde_json::to_vec(self).expect("a report is numbers and text");
        if text.len() > LONGEST {
            let message = "its reason is too long to be told".to_owned();
            text = serde_json::to_vec(&Self::NotSetUp { message }).unwrap_or_default();
        }
        let _nobody_listens = send(socket, &text, SendFlags::NOSIGNAL);
    }

    /// Sends it with a descriptor.
    pub(crate) fn say_with(&self, socket: impl AsFd, fd: BorrowedFd<'_>) -> io::Result<()> {
        let text = serde_json::to_vec(self)?;
        let fds = [fd];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let _there_is_room = ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        sendmsg(socket, &[IoSlice::new(&text)], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Receives the next; `None` when there will be none. With `waits`, waits for it.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is none yet; otherwise it cannot be received.
    pub(crate) fn hear(socket: impl AsFd, waits: bool) -> io::Result<Option<Heard>> {
        let mut bytes = [0; LONGEST];
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags =
            RecvFlags::CMSG_CLOEXEC | if waits { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        let got = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags)?;
        let (mut sender, mut descriptor) = (None, None);
        for message in ancillary.drain() {
            match message {
                RecvAncillaryMessage::ScmCredentials(by) => sender = Some(by.pid),
                RecvAncillaryMessage::ScmRights(mut fds) => descriptor = fds.next(),
                _ => {}
            }
        }
        let report = match &bytes[..got.bytes] {
            [] => return Ok(None),
            HERE => {
                let pid = sender.ok_or(io::ErrorKind::InvalidData)?;
                Self::Here { pid: pid.as_raw_nonzero().get() }
            }
            text => serde_json::from_slice(text)?,
        };
        Ok(Some(Heard { report, descriptor }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_in_order_and_its_end_too() {
        let (ours, theirs) = pair().unwrap();
        let late = Report::hear(&ours, false).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::WouldBlock);

        say_here(&theirs).unwrap();
        Report::Started.say(&theirs);
        Report::Filtered.say_with(&theirs, std::io::stdin().as_fd()).unwrap();
        Report::Code { code: 3 }.say(&theirs);
        Report::NotSetUp { message: "x".repeat(2 * LONGEST) }.say(&theirs);
        drop(theirs);

        let mut heard = Vec::new();
        while let Some(Heard { report, descriptor }) = Report::hear(&ours, true).unwrap() {
            assert_eq!(descriptor.is_some(), report == Report::Filtered, "{report:?}");
            heard.push(report);
        }
        let me = std::process::id().cast_signed();
        let message = "its reason is too long to be told".to_owned();
        let expected = [
            Report::Here { pid: me },
            Report::Started,
            Report::Filtered,
            Report::Code { code: 3 },
            Report::NotSetUp { message },
        ];
        assert_eq!(heard, expected);
    }
}
