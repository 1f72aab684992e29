//! The keeper of a sandbox's network: `trainyard sandboxed-network SOCKET PASTA`, a process beside
//! the sandbox. Makes the network, has pasta connect it, and ends pasta with the run.
//!
//! ```text
//! supervisor
//! ├─ keeper        in a user namespace of its own, which the network belongs to
//! │  └─ pasta      in the machine's network, with a foot in the sandbox's
//! └─ bubblewrap    enters both; the run's user namespace is below: its routes are out of its reach
//! ```
//!
//! Neither is in the run's cgroups, and pasta's use of memory is not taken for the run's: the keeper
//! lets the kernel reap it. When the supervisor is killed the keeper is, and with it pasta.

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{getpid, getppid};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitOptions, getegid, geteuid, wait};
use rustix::thread::{
    CapabilitySet, CapabilitySets, UnshareFlags, capabilities, configure_capability_in_ambient_set,
    set_capabilities, unshare_unsafe,
};
use snapshots::error_chain::chain;

use super::super::inner::inherited;
use super::resolver::STAND_IN;
use super::routes::Routes;
use crate::supervisor::close_inherited_files;
use crate::supervisor::network_keeper::{Namespaces, WayIn};

const fn v6(a: u16, b: u16, g: u16, h: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(a, b, 0, 0, 0, 0, g, h))
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// Where clouds tell a machine who it is, and give whoever asks its credentials.
pub(crate) const CLOSED: [IpAddr; 10] = [
    // AWS, Azure, Google, Oracle, OpenStack and most others.
    v4(169, 254, 169, 254),
    v6(0xfd00, 0xec2, 0, 0x254),
    v6(0xfd20, 0xce, 0, 0x254),
    v6(0xfe80, 0, 0xa9fe, 0xa9fe),
    // Containers of AWS.
    v4(169, 254, 170, 2),
    v4(169, 254, 170, 23),
    v6(0xfd00, 0xec2, 0, 0x23),
    // What answers for Azure's host, Tencent, Alibaba.
    v4(168, 63, 129, 16),
    v4(169, 254, 0, 23),
    v4(100, 100, 100, 200),
];

/// What pasta needs in the user namespace of the network.
const NEEDED: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_PTRACE);

/// Carries out `trainyard sandboxed-network SOCKET PASTA`; SOCKET is the number of a descriptor.
/// Must be called from a process that has one thread only.
#[must_use]
pub fn main(arguments: &[OsString]) -> ExitCode {
    let given = match arguments {
        [socket, pasta] => inherited(socket).zip(Some(pasta)),
        _ => None,
    };
    let Some((socket, pasta)) = given else {
        eprintln!("`trainyard sandboxed-network` is started by the supervisor of a run only");
        return ExitCode::from(2);
    };
    match keep(&socket, pasta) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn keep(socket: &OwnedFd, pasta: &OsString) -> Result<(), Box<dyn Error>> {
    close_inherited_files()?;
    let user = own_users()?;
    // A thread has a network of its own; this one stays in the machine's, where pasta belongs.
    let network = thread::scope(|scope| scope.spawn(own_network).join());
    let network = network.map_err(|_| "its network could not be made")??;
    let (connected, ready) = pipe_with(PipeFlags::CLOEXEC)?;
    let stdin = network.try_clone()?;
    Namespaces { way_in: WayIn { user, network }, connected }.send(socket)?;
    let mut pasta = start(pasta, stdin, ready)?;
    // SAFETY: no code of this program is run; the kernel reaps pasta.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
    // Readable is its end: nothing is ever sent.
    while matches!(poll(&mut [PollFd::new(socket, PollFlags::IN)], None), Err(Errno::INTR)) {}
    end(&mut pasta);
    Ok(())
}

/// Becomes the owner of a user namespace in which everybody is who they are outside.
fn own_users() -> Result<OwnedFd, Box<dyn Error>> {
    let (user, group) = (geteuid(), getegid());
    // SAFETY: there is one thread, and descriptors stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }
        .map_err(|error| format!("no user namespace can be made: {error}"))?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    Ok(File::open("/proc/self/ns/user")?.into())
}

/// Makes a network with a loopback, for the calling thread.
fn own_network() -> io::Result<OwnedFd> {
    // SAFETY: descriptors stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    // An address counts from the start: there is nobody else who could have it. A kernel without
    // IPv6 has no such file.
    let _no_ipv6 = fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
    let routes = Routes::open()?;
    routes.start_loopback()?;
    for address in CLOSED {
        match routes.close_off(address) {
            Err(error) if address.is_ipv6() && is_no_ipv6(&error) => {}
            closed => closed?,
        }
    }
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

fn is_no_ipv6(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::NODEV | Errno::ACCESS))
}

/// Starts pasta, which says on `ready` that the network is connected.
fn start(program: &OsString, network: OwnedFd, ready: OwnedFd) -> io::Result<Child> {
    let mut command = Command::new(program);
    command
        .args(["--foreground", "--quiet", "--netns-only", "--config-net", "--no-map-gw"])
        .args(["-t", "none", "-u", "none", "-T", "none", "-U", "none"])
        .args(["--dns-forward", &STAND_IN.to_string()])
        // It writes its number when it is ready; the standard streams are all that it keeps.
        .args(["--pid", "/proc/self/fd/1", "--netns", "/proc/self/fd/0"])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(network))
        .stdout(Stdio::from(ready));
    let parent = getpid();
    let prepare = move || {
        let sets = capabilities(None)?;
        set_capabilities(None, CapabilitySets { inheritable: NEEDED, ..sets })?;
        for capability in NEEDED.iter() {
            configure_capability_in_ambient_set(capability, true)?;
        }
        set_pdeathsig(Signal::SIGKILL)?;
        if getppid() == parent { Ok(()) } else { Err(io::ErrorKind::NotConnected.into()) }
    };
    // SAFETY: the closure makes system calls only: it neither allocates nor panics.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

/// Ends pasta; the kernel reaps it, after which there is no child to wait for.
fn end(pasta: &mut Child) {
    let _ended_by_itself = pasta.kill();
    while matches!(wait(WaitOptions::empty()), Ok(_) | Err(Errno::INTR)) {}
}
