//! A connection, from the host key to the commands.

use std::io::Read;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::command::Command;
use super::link::Link;
use super::{Endpoint, HostKey, Patience, SshError, Wire, handshake, jump, login};

/// How much of a command's stdout and stderr is kept.
const STDOUT_LIMIT: usize = 1 << 20;
const STDERR_LIMIT: usize = 64 << 10;

/// A connection to an SSH server that has let us in. Dropping it ends it and never blocks.
pub struct SshConnection {
    link: Link,
    host_key: HostKey,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandEnd {
    /// With an exit code.
    Code(i32),
    /// By a signal, as `KILL`.
    Signal(String),
}

/// What a command said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandOutput {
    /// How it ended.
    pub end: CommandEnd,
    /// The first 1 MiB of it.
    pub stdout: Vec<u8>,
    /// The last 64 KiB of it.
    pub stderr: Vec<u8>,
}

impl SshConnection {
    /// Connects, checks the host key, logs in.
    ///
    /// # Errors
    ///
    /// [`SshError`]. For one about the host key nothing was sent but the key exchange.
    pub fn connect(endpoint: &Endpoint, patience: Patience) -> Result<Self, SshError> {
        within(endpoint, patience, move |endpoint, deadline| connect(&endpoint, patience, deadline))
    }

    /// Asks a server for its host key, without logging in to it (but to those on the way). Of
    /// several it is the pinned or known one, if the server still has that, but any is returned.
    ///
    /// # Errors
    ///
    /// [`SshError`].
    pub fn host_key_of(endpoint: &Endpoint, patience: Patience) -> Result<HostKey, SshError> {
        within(endpoint, patience, move |endpoint, deadline| {
            let link = link(&endpoint, patience, deadline)?;
            handshake::shake(&link, &endpoint, patience, deadline)
        })
    }

    /// Returns the host key that was accepted.
    #[must_use]
    pub fn host_key(&self) -> &HostKey {
        &self.host_key
    }

    /// Carries out `command` by the user's login shell with `input` as its stdin, to its end.
    /// `command` is text of this program only, never of a user.
    ///
    /// # Errors
    ///
    /// [`SshError`], after which the connection is of no use; an exit code is none.
    pub fn run(&mut self, command: &str, input: &mut dyn Read) -> Result<CommandOutput, SshError> {
        let mut command = Command::start(&self.link, command, STDERR_LIMIT)?;
        let mut chunk = vec![0; 256 << 10];
        'input: loop {
            let read = input.read(&mut chunk).map_err(SshError::Input)?;
            if read == 0 {
                break;
            }
            let mut rest = &chunk[..read];
            while !rest.is_empty() {
                match command.write(&self.link, rest)? {
                    Some(written) => rest = &rest[written..],
                    None => break 'input,
                }
            }
        }
        command.end_input(&self.link)?;
        let mut stdout = Vec::new();
        loop {
            let read = command.read(&self.link, &mut chunk)?;
            if read == 0 {
                break;
            }
            let room = STDOUT_LIMIT - stdout.len();
            stdout.extend_from_slice(&chunk[..read.min(room)]);
        }
        let end = command.end(&self.link)?;
        Ok(CommandOutput { end, stdout, stderr: command.stderr().to_vec() })
    }

    /// Starts `command` as [`run`](Self::run) does and becomes its stdin and stdout.
    ///
    /// # Errors
    ///
    /// [`SshError`].
    pub fn open(self, command: &str) -> Result<Wire, SshError> {
        Wire::open(self.link, command)
    }

    pub(super) fn into_link(self) -> Link {
        self.link
    }
}

/// Does `work` in a thread of its own and leaves that alone when its time is over: neither names
/// that are looked up nor an agent that waits for its user have a time limit of their own.
fn within<T: Send + 'static>(
    endpoint: &Endpoint,
    patience: Patience,
    work: impl FnOnce(Endpoint, Instant) -> Result<T, SshError> + Send + 'static,
) -> Result<T, SshError> {
    let deadline = Instant::now() + patience.connect;
    let (sender, receiver) = mpsc::sync_channel(1);
    let for_work = endpoint.clone();
    let thread = thread::Builder::new().name("ssh-connect".to_owned());
    thread
        .spawn(move || drop(sender.send(work(for_work, deadline))))
        .map_err(|source| SshError::unreachable(endpoint, source))?;
    // The work itself knows better what it waited for.
    let grace = Duration::from_secs(1);
    receiver.recv_timeout(patience.connect + grace).unwrap_or_else(|_| {
        Err(SshError::Silent { host: endpoint.host.clone(), after: patience.connect })
    })
}

/// Connects and logs in to `endpoint`.
pub(super) fn connect(
    endpoint: &Endpoint,
    patience: Patience,
    deadline: Instant,
) -> Result<SshConnection, SshError> {
    let link = link(endpoint, patience, deadline)?;
    let host_key = handshake::shake(&link, endpoint, patience, deadline)?;
    handshake::check(&link, endpoint, &host_key)?;
    login::log_in(&link, endpoint, patience, deadline)?;
    Ok(SshConnection { link, host_key })
}

fn link(endpoint: &Endpoint, patience: Patience, deadline: Instant) -> Result<Link, SshError> {
    let socket = match endpoint.jumps.is_empty() {
        true => connect_tcp(endpoint, deadline)?,
        false => jump::connect(endpoint, patience, deadline)?,
    };
    Link::new(&endpoint.host, socket, patience)
}

fn connect_tcp(endpoint: &Endpoint, deadline: Instant) -> Result<OwnedFd, SshError> {
    let unreachable = |source| SshError::unreachable(endpoint, source);
    let addresses: Vec<_> =
        (endpoint.host.as_str(), endpoint.port).to_socket_addrs().map_err(unreachable)?.collect();
    let mut error = std::io::Error::other("the name has no address");
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(unreachable)?;
                return Ok(stream.into());
            }
            Err(refused) => error = refused,
        }
    }
    Err(unreachable(error))
}
