//! What is tried: `trainyard sandbox-attempts TASK`, started outside and as the script of runs in
//! sandboxes. Each attempt is a process of its own, since two of them are to be killed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use rustix::thread::{UnshareFlags, no_new_privs, unshare_unsafe};
use serde::{Deserialize, Serialize};

use super::bait::{Bait, SharedMemory, VARIABLE};
use crate::run_configuration::Network;

/// The command that makes them.
pub const COMMAND: &str = "sandbox-attempts";

/// The limits, as what is missing is called where no cgroup has them.
pub(super) const MEMORY: &str = "memory";
pub(super) const PIDS: &str = "pids";

/// The parts of a sandbox, as its record calls them when they are missing.
const NAMESPACES: &str = "namespaces";
const LANDLOCK: &str = "landlock";

/// How much memory and how many threads are asked for: twice what there is in a sandbox.
const BYTES: usize = 128 << 20;
const THREADS: usize = 64;

/// How long a connection to the loopback may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Something to try.
pub struct Attempt {
    /// What the layer is called.
    pub name: &'static str,
    /// The network of the sandbox in which it is tried.
    pub network: Network,
    /// What keeps it from succeeding, any of these: nothing that could be missing where there is
    /// none.
    pub kept_by: &'static [&'static str],
    /// What is tried, in words.
    pub tried: &'static str,
    /// Tries it. An error is what stood in the way.
    make: fn(&Bait) -> io::Result<()>,
}

const fn attempt(
    name: &'static str,
    kept_by: &'static [&'static str],
    tried: &'static str,
    make: fn(&Bait) -> io::Result<()>,
) -> Attempt {
    Attempt { name, network: Network::Full, kept_by, tried, make }
}

/// All of them.
pub const ATTEMPTS: &[Attempt] = &[
    attempt("files", &[NAMESPACES, LANDLOCK], "reads a file that was made outside", read_file),
    attempt("writing", &[NAMESPACES, LANDLOCK], "writes into a directory it may read", write_file),
    attempt("processes", &[NAMESPACES], "looks for a process outside", see_process),
    attempt("ipc", &[NAMESPACES], "attaches to shared memory from outside", attach),
    attempt("hostname", &[NAMESPACES], "is in the machine's namespace of host names", host_names),
    attempt(
        "abstract sockets",
        &["abstract sockets"],
        "connects to an abstract socket from outside",
        connect_by_name,
    ),
    attempt("network", &["network"], "connects to the machine's loopback", connect),
    Attempt {
        network: Network::Loopback,
        ..attempt("network loopback", &[NAMESPACES], "the same with --network loopback", connect)
    },
    Attempt {
        network: Network::None,
        ..attempt("network none", &[NAMESPACES], "the same with --network none", connect)
    },
    attempt("landlock", &[LANDLOCK], "writes its own name into /proc", write_own_name),
    attempt("system calls", &["system calls"], "calls unshare, asking for nothing", call_unshare),
    attempt("capabilities", &[], "has a capability, or could gain one", have_capabilities),
    attempt("new privileges", &[], "could start a program with more privileges", gain_privileges),
    attempt("descriptors", &[], "finds a file that its starter had open", find_descriptor),
    attempt("environment", &[], "finds a variable of its starter", find_variable),
    attempt(MEMORY, &[MEMORY], "takes 128 MiB where 64 are allowed", take_memory),
    attempt(PIDS, &[PIDS], "starts 64 threads where 32 are allowed", start_threads),
];

/// Which attempts to make, and what for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) bait: Bait,
    pub(super) names: Vec<String>,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tried {
    pub(super) name: String,
    /// What stood in its way; `None` when it succeeded.
    pub(super) kept: Option<String>,
}

/// Carries out `trainyard sandbox-attempts TASK [NAME]`: all, each in a process of its own and one
/// after the other, or that one.
#[must_use]
pub fn main(arguments: &[OsString]) -> ExitCode {
    let task = arguments.first().and_then(|task| serde_json::from_str(task.to_str()?).ok());
    let made = match (task, arguments) {
        (Some(task), [_]) => all(&task),
        (Some(task), [_, name]) => one(&task, name),
        _ => Err(io::Error::other("it is started by `trainyard sandbox probe` only")),
    };
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn all(task: &Task) -> io::Result<()> {
    let text = serde_json::to_string(task)?;
    for name in &task.names {
        let mut command = Command::new(std::env::current_exe()?);
        let output = command.args([COMMAND, &text, name]).stdin(Stdio::null()).output()?;
        let kept = (!output.status.success()).then(|| match output.status.signal() {
            Some(signal) => format!("signal {signal} ended it"),
            None => String::from_utf8_lossy(&output.stderr).into_owned(),
        });
        let mut line = serde_json::to_vec(&Tried { name: name.clone(), kept })?;
        line.push(b'\n');
        io::stdout().write_all(&line)?;
    }
    Ok(())
}

fn one(task: &Task, name: &OsString) -> io::Result<()> {
    let attempt = ATTEMPTS.iter().find(|attempt| name == attempt.name);
    let attempt = attempt.ok_or_else(|| io::Error::other("there is no such attempt"))?;
    (attempt.make)(&task.bait)
}

/// Says that what was found is not what was looked for.
fn unless(found: bool, otherwise: &str) -> io::Result<()> {
    if found { Ok(()) } else { Err(io::Error::other(otherwise)) }
}

fn read_file(bait: &Bait) -> io::Result<()> {
    unless(fs::read_to_string(&bait.file)? == bait.word, "it is another file")
}

fn write_file(bait: &Bait) -> io::Result<()> {
    let path = bait.shown.join("written");
    File::create(&path)?;
    fs::remove_file(path)
}

fn see_process(bait: &Bait) -> io::Result<()> {
    let is_seen = bait.process.is_alive().map_err(|error| error.source)?;
    unless(is_seen, "it is not there")
}

fn attach(bait: &Bait) -> io::Result<()> {
    SharedMemory::attach(bait.shared_memory).map(drop)
}

fn host_names(bait: &Bait) -> io::Result<()> {
    unless(fs::read_link("/proc/self/ns/uts")? == bait.host_names, "it has one of its own")
}

fn connect_by_name(bait: &Bait) -> io::Result<()> {
    UnixStream::connect_addr(&UnixAddress::from_abstract_name(&bait.word)?).map(drop)
}

fn connect(bait: &Bait) -> io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, bait.port));
    TcpStream::connect_timeout(&address, PATIENCE).map(drop)
}

/// The mounts let everybody do this; only Landlock does not.
fn write_own_name(_: &Bait) -> io::Result<()> {
    fs::write("/proc/self/comm", "attempt")
}

fn call_unshare(_: &Bait) -> io::Result<()> {
    // SAFETY: nothing is unshared; the call is made.
    Ok(unsafe { unshare_unsafe(UnshareFlags::empty()) }?)
}

/// What a process has, and what programs that it starts may have at most.
fn have_capabilities(_: &Bait) -> io::Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let has = |name: &str| {
        let set = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        set.is_some_and(|set| set.trim().bytes().any(|digit| digit != b'0'))
    };
    let has_some = ["CapInh", "CapPrm", "CapEff", "CapAmb"].into_iter().any(has);
    let could_gain = has("CapBnd") && !no_new_privs()?;
    unless(has_some || could_gain, "it has none and can gain none")
}

fn gain_privileges(_: &Bait) -> io::Result<()> {
    unless(!no_new_privs()?, "no program it starts gains any")
}

fn find_descriptor(bait: &Bait) -> io::Result<()> {
    let opened = fs::read_link(format!("/proc/self/fd/{}", bait.descriptor))?;
    unless(opened == bait.file, "it is another file")
}

fn find_variable(bait: &Bait) -> io::Result<()> {
    let found = std::env::var(VARIABLE).is_ok_and(|word| word == bait.word);
    unless(found, "it is not set")
}

fn take_memory(_: &Bait) -> io::Result<()> {
    // Not of zeros, which cost nothing.
    drop(std::hint::black_box(vec![1_u8; BYTES]));
    Ok(())
}

fn start_threads(_: &Bait) -> io::Result<()> {
    for _ in 0..THREADS {
        let wait = || loop {
            thread::park();
        };
        thread::Builder::new().stack_size(64 << 10).spawn(wait)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_attempt_has_a_name_of_its_own() {
        let names: BTreeSet<_> = ATTEMPTS.iter().map(|attempt| attempt.name).collect();
        assert_eq!(names.len(), ATTEMPTS.len());
    }
}
