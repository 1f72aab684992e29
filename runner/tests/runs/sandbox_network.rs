//! The network of a run in a sandbox: what it reaches, what not, and that nothing of it stays.
//!
//! What is sent goes to networks that these tests make; it takes root to make them.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use runner::exit_record::{ExitReason, ExitRecord};
use runner::run_configuration::Network;
use runner::sandbox::network::{NetworkFacts, RoomNetwork, choose};

use crate::sandbox::sandboxed;
use crate::support::{TestRun, kill, python, supervise_program, wait_until};

/// Says whether this machine can connect a network of a run's own.
pub(crate) fn can_connect() -> bool {
    let can = matches!(choose(Network::Full, &NetworkFacts::look()).0, RoomNetwork::Connected(_));
    if !can {
        eprintln!("\n*** NOT TESTED: there is no pasta, /dev/net/tun or network here ***\n");
    }
    can
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("\n*** NOT TESTED: only root can make a machine's network ***\n");
    }
    is_root
}

/// A machine's network: a server at 192.0.2.1 behind its default route, a resolver at 127.0.0.53
/// that knows `server.test`, and somebody who listens on its loopback.
const MACHINE: &str = r#"
set -e
supervise=$1 run=$2 python=$3 here=$4
ip link set lo up
mount --bind "$here/resolv.conf" /etc/resolv.conf
mkfifo "$here/up"
unshare --net "$python" "$here/server.py" "$here/up" & server=$!
"$python" "$here/resolver.py" "$here/up" & resolver=$!
trap 'kill $server $resolver' EXIT
exec 9<>"$here/up"; read -r _ <&9; read -r _ <&9
ip link add near type veth peer name far netns $server
nsenter -t $server -n sh -c 'ip link set lo up; ip addr add 192.0.2.1/24 dev far; ip link set far up'
ip addr add 192.0.2.2/24 dev near; ip link set near up; ip route add default via 192.0.2.1
"$supervise" supervise "$run" 9<&-
"#;

const SERVER: &str = r"
import socket, sys
listener = socket.create_server(('0.0.0.0', 8080))
open(sys.argv[1], 'w').write('up\n')
block = bytes(range(256)) * 4096
while True:
    connection, _ = listener.accept()
    length = int(connection.makefile().readline())
    for _ in range(length): connection.sendall(block)
    connection.close()
";

const RESOLVER: &str = r"
import socket, sys
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); names.bind(('127.0.0.53', 53))
private = socket.create_server(('127.0.0.1', 9090))
open(sys.argv[1], 'w').write('up\n')
while True:
    question, asker = names.recvfrom(512)
    end = question.index(b'\0', 12) + 5
    is_ipv4 = question[end - 4:end - 2] == b'\0\1' and b'\6server\4test' in question
    answer = b'\xc0\x0c\0\1\0\1\0\0\0\1\0\4' + socket.inet_aton('192.0.2.1') if is_ipv4 else b''
    head = question[:2] + b'\x81\x80\0\1\0' + bytes([bool(answer)]) + b'\0\0\0\0'
    names.sendto(head + question[12:end] + answer, asker)
";

/// Carries out `run` on a machine whose network is [`MACHINE`]'s.
fn on_a_machine(run: &TestRun) -> ExitRecord {
    run.write_launch();
    let here = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("server.py", SERVER),
        ("resolver.py", RESOLVER),
        ("resolv.conf", "nameserver 127.0.0.53\noptions timeout:3\n"),
    ] {
        fs::write(here.path().join(name), text).unwrap();
    }
    let output = Command::new("unshare")
        .args(["--net", "--mount", "bash", "-c", MACHINE, "machine"])
        .args([supervise_program().as_path(), run.directory.path(), Path::new(python())])
        .arg(here.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    run.end()
}

#[test]
fn a_run_reaches_the_network_and_nothing_of_the_machines_loopback() {
    if !is_root() || !can_connect() {
        return;
    }
    let script = r#"
import hashlib, os, socket
def get(address, blocks):
    connection = socket.create_connection(address, 5); connection.sendall(b"%d\n" % blocks)
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))
block = bytes(range(256)) * 4096
print("by address", get(("192.0.2.1", 8080), 1) == block)
print("by name", get(("server.test", 8080), 1) == block)
print("64 MiB", hashlib.sha256(get(("192.0.2.1", 8080), 64)).digest() == hashlib.sha256(block * 64).digest())
listener = socket.create_server(("127.0.0.1", 9091))
print("its own loopback", socket.create_connection(("127.0.0.1", 9091)) is not None)
for name, address in [("loopback", "127.0.0.1"), ("gateway", "192.0.2.1"), ("own address", "192.0.2.2")]:
    try: socket.create_connection((address, 9090), 2); print(name, "reached")
    except OSError: print(name, "not reached")
print("unknown name", end=" ")
try: socket.getaddrinfo("nobody.test", 1)
except socket.gaierror: print("is not there")
print("interfaces", [name for _, name in socket.if_nameindex()])
"#;
    let run = sandboxed(script);

    let record = on_a_machine(&run);

    assert_eq!(
        run.text(),
        "by address True\nby name True\n64 MiB True\nits own loopback True\n\
         loopback not reached\ngateway not reached\nown address not reached\nunknown name is not there\ninterfaces ['lo', 'near']\n",
        "{}",
        run.supervisor_log()
    );
    assert_eq!(record.sandbox.unwrap().missing, []);
}

#[test]
fn a_run_on_a_machine_without_a_network_has_none_and_misses_nothing() {
    if !is_root() {
        return;
    }
    let run = sandboxed("import socket; print([name for _, name in socket.if_nameindex()])");
    run.write_launch();
    let status = Command::new("unshare")
        .args(["--net", supervise_program().to_str().unwrap(), "supervise"])
        .arg(run.directory.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();

    assert!(status.success());
    let record = run.end();
    assert_eq!((record.reason, run.text().as_str()), (ExitReason::Completed, "['lo']\n"));
    assert_eq!(record.sandbox.unwrap().missing, []);
}

#[test]
fn where_pasta_is_missing_or_fails_the_network_is_the_machines_and_it_is_said() {
    if !is_root() || !can_connect() {
        return;
    }
    let elsewhere = tempfile::tempdir_in("/var/tmp").unwrap();
    let fake = elsewhere.path().join("pasta");
    crate::sandbox::write_program(&fake, "echo 'no tun today' >&2; exit 1");
    for (pasta, why) in [
        (Path::new("/dev/null"), "pasta is not installed"),
        (&fake, "pasta connects none: no tun today"),
    ] {
        let run = sandboxed("import os; print(len(os.listdir('/sys/class/net')) > 0)");

        let record = crate::sandbox::carried_out_with(&run, pasta, "/usr/bin/pasta").unwrap();

        let sandbox = record.sandbox.unwrap();
        assert_eq!((record.reason, run.text().as_str()), (ExitReason::Completed, "True\n"));
        assert_eq!(sandbox.tier, runner::sandbox::policy::Tier::Full);
        let [missing] = &sandbox.missing[..] else { panic!("{:?}", sandbox.missing) };
        assert!(missing.layer == "network" && missing.why.ends_with(why), "{missing:?}");
    }
}

#[test]
fn nobody_connects_to_a_run_from_outside() {
    if !can_connect() {
        return;
    }
    // pasta looks once a second for ports that it could pass on.
    const LOOKS: Duration = Duration::from_millis(2500);
    let script = "import socket, time\nlistener = socket.create_server(('0.0.0.0', 0))\n\
        print(listener.getsockname()[1], flush=True)\ntime.sleep(1000)";
    let run = sandboxed(script);
    run.start();
    run.wait_for_output("\n");
    let port: u16 = run.text().trim().parse().unwrap();

    let begun = Instant::now();
    while begun.elapsed() < LOOKS {
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        thread::sleep(LOOKS / 50);
    }
    run.cancel(true);
    run.end();
}

/// A process, and what tells it from the next one with its number.
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    start_time: String,
}

impl Process {
    /// Returns the one with this number, unless it has ended.
    fn read(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        let start_time = fields[19].to_owned();
        (fields[0] != "Z").then(|| Self { pid, parent: fields[1].parse().unwrap(), start_time })
    }

    pub(crate) fn is_called(&self, name: &str) -> bool {
        let found = fs::read_to_string(format!("/proc/{}/comm", self.pid));
        found.is_ok_and(|found| found.starts_with(name))
    }

    fn is_gone(&self) -> bool {
        Self::read(self.pid).is_none_or(|now| now.start_time != self.start_time)
    }
}

/// Lists the processes below `root`.
pub(crate) fn descendants(root: i32) -> Vec<Process> {
    let names = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    let mut all: Vec<Process> =
        names.filter_map(|name| Process::read(name.to_str()?.parse().ok()?)).collect();
    let mut parents = vec![root];
    let mut found = Vec::new();
    while let Some(parent) = parents.pop() {
        let (children, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|process| process.parent == parent);
        all = others;
        parents.extend(children.iter().map(|child| child.pid));
        found.extend(children);
    }
    found
}

/// Lists pasta's processes below the supervisor of `run`.
fn pastas(run: &TestRun) -> Vec<Process> {
    let mut below = descendants(run.supervisor().supervisor.pid);
    below.retain(|process| process.is_called("pas"));
    below
}

#[test]
fn no_pasta_outlives_its_run() {
    if !can_connect() {
        return;
    }
    type End = fn(&TestRun);
    let ends: [(&str, End); 4] = [
        ("by itself", |run| fs::write(run.directory.work().join("go"), "").unwrap()),
        ("cancelled", |run| run.cancel(true)),
        ("the supervisor killed", |run| kill(run.supervisor().supervisor.pid, Signal::SIGKILL)),
        ("both killed", |run| {
            let record = run.supervisor();
            kill(record.guard.pid, Signal::SIGKILL);
            kill(record.supervisor.pid, Signal::SIGKILL);
        }),
    ];
    for (name, end) in ends {
        let run = sandboxed(
            "import os, time\nprint('ready', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)",
        );
        run.start();
        run.wait_for_output("ready");
        let pastas = pastas(&run);
        assert_eq!(pastas.len(), 1, "{name}");

        end(&run);

        wait_until(&format!("pasta is gone after {name}"), || pastas.iter().all(Process::is_gone));
    }
}

#[test]
fn pasta_has_nothing_of_the_run_and_is_not_counted_as_its_own() {
    if !can_connect() {
        return;
    }
    let script = "import time\nprint('ready', flush=True)\ntime.sleep(1000)";
    let run = sandboxed(script);
    run.start();
    run.wait_for_output("ready");
    let pasta = &pastas(&run)[0];

    let files = fs::read_dir(format!("/proc/{}/fd", pasta.pid)).unwrap();
    let base = run.base().to_string_lossy().into_owned();
    for file in files.filter_map(|file| fs::read_link(file.unwrap().path()).ok()) {
        assert!(!file.to_string_lossy().contains(&base), "{file:?}");
    }
    assert_eq!(fs::read(format!("/proc/{}/environ", pasta.pid)).unwrap(), b"");
    let cgroups = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let supervisor = run.supervisor().supervisor.pid;
    assert_eq!(cgroups(pasta.pid), cgroups(supervisor), "beside the run's");
    run.cancel(true);

    let record = run.end();
    assert_eq!(record.leftover_processes, 0);
    assert!(record.peak_memory_bytes.unwrap() < 28 << 20, "{:?}", record.peak_memory_bytes);
}
