//! Going through other machines (`ProxyJump`).

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use ssh2::Channel;

use super::connection::connect as log_in;
use super::link::{Link, cause, close, would_block};
use super::{Endpoint, Patience, SshError};

/// Connects to `endpoint` by way of its jumps, whose host keys are checked as they say. What is
/// returned is one end of a pair of sockets; a thread carries what goes in and comes out, until
/// that end is closed.
pub(super) fn connect(
    endpoint: &Endpoint,
    patience: Patience,
    deadline: Instant,
) -> Result<OwnedFd, SshError> {
    let unreachable = |source| SshError::unreachable(endpoint, source);
    let Some((last, before)) = endpoint.jumps.split_last() else {
        return Err(unreachable(io::Error::other("there is no machine to go through")));
    };
    let mut last = last.clone();
    last.jumps = [before, &last.jumps].concat();
    let link = log_in(&last, patience, deadline)?.into_link();
    let (host, port) = (endpoint.host.as_str(), endpoint.port);
    let channel = link
        .try_until(deadline, |session| session.channel_direct_tcpip(host, port, None))
        .map_err(|error| {
            let said = format!("{} cannot connect to it: {}", last.host, error.message());
            unreachable(io::Error::other(said))
        })?
        .ok_or(SshError::Silent { host: last.host, after: patience.connect })?;
    let (ours, theirs) = UnixStream::pair().map_err(unreachable)?;
    theirs.set_nonblocking(true).map_err(unreachable)?;
    let pump = Pump { channel, link, socket: theirs };
    thread::Builder::new()
        .name("ssh-jump".to_owned())
        .spawn(move || pump.run())
        .map_err(unreachable)?;
    Ok(ours.into())
}

/// Carries bytes between a channel and a socket. The channel is before the link: it goes first.
struct Pump {
    channel: Channel,
    link: Link,
    socket: UnixStream,
}

/// What was read at one end and not yet all written at the other. libssh2 wants the same bytes at
/// the same place until it has taken them: they are not moved.
struct Load {
    bytes: Vec<u8>,
    sent: usize,
    filled: usize,
    /// Nothing more is read.
    ended: bool,
}

impl Load {
    fn new() -> Self {
        Self { bytes: vec![0; 128 << 10], sent: 0, filled: 0, ended: false }
    }

    fn is_empty(&self) -> bool {
        self.sent == self.filled
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..self.filled]
    }

    /// Is filled by `read` if it is empty.
    fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<bool> {
        if !self.is_empty() || self.ended {
            return Ok(false);
        }
        let read = read(&mut self.bytes)?;
        (self.sent, self.filled, self.ended) = (0, read, read == 0);
        Ok(true)
    }

    /// Is written by `write` if there is something.
    fn send(&mut self, write: impl FnOnce(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
        if self.is_empty() {
            return Ok(false);
        }
        self.sent += write(self.rest())?;
        Ok(true)
    }
}

impl Pump {
    /// Runs until one of the two is closed. It has no deadlines: whoever uses the other end of the
    /// socket has, and closes that.
    fn run(mut self) {
        let (mut out, mut back) = (Load::new(), Load::new());
        while !(back.ended || out.ended && out.is_empty()) {
            match self.step(&mut out, &mut back) {
                Ok(true) => {}
                Ok(false) => self.wait(&out, &back),
                Err(_gone) => break,
            }
        }
        close(self.link.socket());
        // libssh2 notices, and does not try to take leave.
        let _gone = self.channel.wait_eof();
    }

    /// Carries what can be carried without waiting; says whether there may be more.
    fn step(&mut self, out: &mut Load, back: &mut Load) -> io::Result<bool> {
        let Self { channel, socket, link } = self;
        let mut moved = or_later(back.fill(|bytes| match later(link, channel.read(bytes))? {
            0 if !channel.eof() => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }))?;
        moved |= or_later(back.send(|bytes| socket.write(bytes)))?;
        moved |= or_later(out.fill(|bytes| socket.read(bytes)))?;
        moved |= or_later(out.send(|bytes| later(link, channel.write(bytes))))?;
        // Writing takes in what has come, which no waiting would see.
        let arrived = channel.read_window().available > 0 || channel.eof();
        Ok(moved || back.is_empty() && !back.ended && arrived && !link.is_sending())
    }

    fn wait(&self, out: &Load, back: &Load) {
        let mut socket = PollFlags::empty();
        socket.set(PollFlags::IN, out.is_empty() && !out.ended);
        socket.set(PollFlags::OUT, !back.is_empty());
        let link = if self.link.is_sending() { PollFlags::OUT } else { PollFlags::IN };
        let mut fds = [
            PollFd::from_borrowed_fd(self.socket.as_fd(), socket),
            PollFd::new(self.link.socket(), link),
        ];
        // While there is no room to read into, the link is not listened to, or this would spin.
        let listens = back.is_empty() || !out.is_empty();
        let _interrupted = poll(&mut fds[..if listens { 2 } else { 1 }], None);
    }
}

/// Tells `WouldBlock` apart from what is an error.
fn or_later(done: io::Result<bool>) -> io::Result<bool> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        done => done,
    }
}

/// The same for a stream of libssh2, where nothing done is no error either.
fn later(link: &Link, done: io::Result<usize>) -> io::Result<usize> {
    done.map_err(|error| match would_block(&cause(link.session(), &error)) {
        true => io::ErrorKind::WouldBlock.into(),
        false => error,
    })
}
