//! What a run in a sandbox cannot do. Each attempt is made twice: outside, where it succeeds, so
//! that it is known to be one, and inside, where it does not.
//!
//! Attempts print `ESCAPED` when they got what they wanted and say why not otherwise. Nothing is
//! ever sent off this machine: of the network it is looked at what could be reached.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};

use runner::exit_record::ExitReason;
use runner::run_configuration::Network;
use runner::sandbox::policy::SandboxPolicy;
use rustix::net::{SocketAddrUnix, SocketType, bind, listen, socket};

use crate::sandbox::policy;
use crate::sandbox_layers::Layer::{self, Fence, Rooms, Stage};
use crate::sandbox_layers::{can_hide, carried_out_with_only};
use crate::sandbox_network::can_connect;
use crate::support::TestRun;

/// What every attempt begins with.
const BEGIN: &str = r#"
import ctypes, os, signal, socket, struct, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def reach(kind, address, family=socket.AF_UNIX):
    socket.socket(family, kind).connect(address)
"#;

/// What it is called, what is tried, and the layers that stop it each alone.
type Attempt<'a> = (&'a str, &'a str, &'a [Layer]);

/// A machine with something to get at.
pub(crate) struct Surroundings {
    pub(crate) directory: tempfile::TempDir,
    _left: tempfile::NamedTempFile,
    bystander: Child,
    _path_socket: UnixListener,
    _abstract_socket: rustix::fd::OwnedFd,
    tcp: std::net::TcpListener,
}

impl Surroundings {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("secret").tempdir_in("/var/tmp").unwrap();
        fs::write(directory.path().join("key"), "hunter2").unwrap();
        let path_socket = UnixListener::bind(directory.path().join("socket")).unwrap();
        let name = directory.path().to_string_lossy().into_owned();
        let abstract_socket =
            socket(rustix::net::AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        let address = SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap();
        bind(&abstract_socket, &address).unwrap();
        listen(&abstract_socket, 4).unwrap();
        let bystander = Command::new("sleep")
            .arg("1000")
            .env("BYSTANDERS_SECRET", "hunter2")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            directory,
            _left: tempfile::Builder::new().prefix("left-by-another").tempfile().unwrap(),
            bystander,
            _path_socket: path_socket,
            _abstract_socket: abstract_socket,
            tcp,
        }
    }

    /// Returns what an attempt begins with, and knows of them.
    pub(crate) fn known(&self) -> String {
        let namespaces = ["cgroup", "ipc", "net", "pid", "uts"];
        let namespaces = namespaces.map(|kind| {
            let path = format!("/proc/self/ns/{kind}");
            (kind, fs::read_link(path).unwrap().to_string_lossy().into_owned())
        });
        format!(
            "{BEGIN}SECRET = {:?}\nMACHINES = dict({namespaces:?})\nBYSTANDER = {}\nPORT = {}\n",
            self.directory.path(),
            self.bystander.id(),
            self.tcp.local_addr().unwrap().port(),
        )
    }

    /// Carries out `attempt` where there is all, or `only` one layer, and returns what it said.
    fn tried(&self, attempt: &str, policy: Option<SandboxPolicy>, only: Option<Layer>) -> String {
        let script = format!(
            "{}try:\n{}\nexcept BaseException as error:\n    print('refused:', repr(error))\n",
            self.known(),
            attempt
                .trim_matches('\n')
                .lines()
                .map(|line| format!("    {line}\n"))
                .collect::<String>(),
        );
        let mut run = TestRun::of(&script);
        run.launch.sandbox = policy;
        run.launch.timeout_seconds = Some(15.0);
        run.launch.grace_seconds = 0.0;
        let (run, record) = match only {
            None => run.carried_out(),
            Some(layer) => carried_out_with_only(layer, run),
        };
        assert_ne!(record.reason, ExitReason::SandboxFailed, "{}", record.message);
        format!(
            "{}{}",
            run.text(),
            record.signal.map_or(String::new(), |it| format!("signal {it}"))
        )
    }

    /// Makes each attempt outside, inside and behind each layer that stops it alone. None is one that
    /// fails outside already.
    fn check(&self, network: Network, attempts: &[Attempt<'_>]) {
        let can_hide = can_hide();
        for (name, attempt, layers) in attempts {
            let policy = SandboxPolicy { network, ..policy() };
            let outside = self.tried(attempt, None, None);
            assert!(outside.contains("ESCAPED"), "{name}, outside: {outside}");
            let alone = layers.iter().filter(|_| can_hide).map(|layer| Some(*layer));
            for only in alone.chain([None]) {
                let inside = self.tried(attempt, Some(policy.clone()), only);
                assert!(!inside.contains("ESCAPED"), "{name}, inside, only {only:?}: {inside}");
            }
        }
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        drop(self.bystander.kill());
        drop(self.bystander.wait());
    }
}

#[test]
fn files_of_others_are_not_there() {
    Surroundings::new().check(Network::Full, &[
        ("a file of another", "print('ESCAPED', open(SECRET + '/key').read())", &[Rooms, Fence]),
        ("write next to it", "open(SECRET + '/new', 'w').write('x'); print('ESCAPED')", &[Rooms, Fence]),
        ("list the homes", "print('ESCAPED' if len(os.listdir('/root')) > 1 else 'nothing but the way to a Python')", &[Rooms, Fence]),
        ("the passwords", "print('ESCAPED', len(open('/etc/shadow').read()))", &[Rooms, Fence]),
        ("the run's own records", "print('ESCAPED', len(open('../launch.json').read()))", &[Rooms, Fence]),
        ("write its end", "open('../exit.json.new', 'w'); print('ESCAPED' if os.path.exists('../launch.json') else 'elsewhere')", &[Rooms]),
        ("write its log", "open('../user_logs/std_log.txt', 'a'); print('ESCAPED')", &[Rooms, Fence]),
        ("write to the system", "path = '/usr/lib/written-by-a-test'; open(path, 'w'); os.unlink(path); print('ESCAPED')", &[Rooms, Fence]),
        ("write to the settings", "path = '/etc/written-by-a-test'; open(path, 'w'); os.unlink(path); print('ESCAPED')", &[Rooms, Fence]),
        ("write to the root", "path = '/written-by-a-test'; open(path, 'w'); os.unlink(path); print('ESCAPED')", &[Rooms, Fence]),
        ("the engine's directory", "os.stat('/run/docker.sock') if os.path.exists('/run/docker.sock') else os.stat('/var/lib/dpkg'); print('ESCAPED')", &[Rooms]),
        ("a device of the machine", "import glob; print('ESCAPED' if os.path.exists('/dev/mem') or os.path.exists('/dev/kmsg') or glob.glob('/dev/vd*') else 'none')", &[Rooms]),
        ("the kernel's settings", "os.listdir('/sys/kernel')[0]; print('ESCAPED')", &[Rooms]),
        ("the machine's cgroups", "print('ESCAPED' if os.listdir('/sys/fs') else 'none')", &[Rooms]),
        ("a file by another's root", "print('ESCAPED', os.listdir(f'/proc/{BYSTANDER}/root'))", &[Rooms, Fence]),
        ("a link out", "os.symlink(SECRET + '/key', 'link'); print('ESCAPED', open('link').read())", &[Rooms, Fence]),
        ("a hard link out", "os.link(SECRET + '/key', SECRET + '/hard'); print('ESCAPED')", &[Rooms, Fence]),
        ("what others left in /tmp", "print('ESCAPED' if any(name.startswith('left-by-another') for name in os.listdir('/tmp')) else 'none')", &[Rooms, Fence]),
        ("what others left in /var/tmp", "print('ESCAPED' if len(os.listdir('/var/tmp')) > 0 else 'none')", &[Rooms, Fence]),
        ("what the system keeps in /run", "print('ESCAPED' if os.listdir('/run') else 'none')", &[Rooms, Fence]),
        ("write where nothing is", "path = '/run/written-by-a-test'; open(path, 'w'); os.unlink(path); print('ESCAPED')", &[Rooms, Fence]),
        ("the machine's firmware", "print('ESCAPED' if os.listdir('/sys/firmware') else 'none')", &[Rooms]),
    ]);
}

#[test]
fn processes_of_others_are_not_there() {
    Surroundings::new().check(Network::Full, &[
        ("see", "os.stat(f'/proc/{BYSTANDER}'); print('ESCAPED')", &[Rooms]),
        ("signal", "os.kill(BYSTANDER, 0); print('ESCAPED')", &[Rooms, Fence]),
        ("its environment", "print('ESCAPED' if b'hunter2' in open(f'/proc/{BYSTANDER}/environ', 'rb').read() else '')", &[Rooms, Fence]),
        ("the number of processes", "print('ESCAPED' if len([p for p in os.listdir('/proc') if p.isdigit()]) > 4 else 'few')", &[Rooms]),
        ("a descriptor by number", "call(434, BYSTANDER, 0); print('ESCAPED')", &[Rooms]),
        ("its priority", "os.setpriority(os.PRIO_PROCESS, BYSTANDER, 19); print('ESCAPED')", &[Rooms]),
        ("its limits", "import resource; resource.prlimit(BYSTANDER, resource.RLIMIT_CORE); print('ESCAPED')", &[Rooms]),
        ("its memory", "open(f'/proc/{BYSTANDER}/mem', 'rb').close(); print('ESCAPED')", &[Rooms, Fence]),
        ("trace a child", "pid = os.fork()\nif pid == 0: signal.pause()\ntry: call(101, 16, pid, 0, 0); os.waitpid(pid, 0); print('ESCAPED')\nfinally: os.kill(pid, 9)", &[]),
        ("its parent's memory", "open(f'/proc/{os.getppid()}/mem', 'rb').close(); print('ESCAPED')", &[Rooms, Fence, Stage]),
        ("its parent's descriptors", "print('ESCAPED', os.listdir(f'/proc/{os.getppid()}/fd')[0] and os.readlink(f'/proc/{os.getppid()}/fd/0'))", &[Rooms, Fence, Stage]),
        ("its parent's descriptor by number", "call(438, call(434, os.getppid(), 0), 1, 0); print('ESCAPED')", &[Rooms, Fence, Stage]),
        ("leave memory to others", "open('/proc/self/oom_score_adj', 'w').write('-500'); print('ESCAPED')", &[Fence]),
        ("write to its own /proc", "open('/proc/self/oom_score_adj', 'w').write('500'); print('ESCAPED')", &[Fence]),
        ("namespaces of the machine", "shared = [kind for kind in ('cgroup', 'ipc', 'pid', 'uts') if os.readlink(f'/proc/self/ns/{kind}') == MACHINES[kind]]; print('ESCAPED' if shared else 'own', shared)", &[Rooms]),
    ]);
}

#[test]
fn nobody_becomes_more_than_they_are() {
    Surroundings::new().check(Network::Full, &[
        ("capabilities", "text = open('/proc/self/status').read(); print('ESCAPED' if any(int(line.split()[1], 16) for line in text.splitlines() if line.startswith('Cap')) else text)", &[Rooms, Fence, Stage]),
        ("new privileges", "print('ESCAPED' if 'NoNewPrivs:\\t0' in open('/proc/self/status').read() else 'none')", &[Rooms, Fence, Stage]),
        ("mount", "call(165, b'none', b'/mnt', b'tmpfs', 0, 0); call(166, b'/mnt', 0); print('ESCAPED')", &[Stage]),
        ("a new mount tree", "call(428, -100, b'/', 1); print('ESCAPED')", &[Stage]),
        ("a namespace of mounts", "call(272, 0x20000); print('ESCAPED')", &[Stage]),
        ("a namespace of users", "pid = os.fork()\nif pid == 0:\n    os._exit(0 if libc.unshare(0x10000000) == 0 else 1)\nprint('ESCAPED' if os.waitpid(pid, 0)[1] == 0 else 'refused')", &[]),
        ("a namespace by clone", "pid = libc.syscall(56, 0x20000 | 17, 0, 0, 0, 0)\nif pid == 0: os._exit(0)\nprint('ESCAPED' if pid > 0 else 'refused')", &[]),
        ("another root", "os.chroot('/usr'); print('ESCAPED')", &[Stage]),
        ("another user", "os.setgroups([1]); os.setuid(65534); print('ESCAPED')", &[Stage]),
        ("a device", "os.mknod('device', 0o600 | 0o20000, os.makedev(1, 3)); print('ESCAPED')", &[Stage]),
        ("the host's name", "socket.sethostname(socket.gethostname()); print('ESCAPED')", &[Stage]),
        ("a higher priority", "os.setpriority(os.PRIO_PROCESS, 0, -5); print('ESCAPED')", &[Stage]),
        ("a file by its handle", "handle = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128)); mount = ctypes.c_int()\ncall(303, -100, b'/usr', handle, ctypes.byref(mount), 0)\nroot = os.open('/usr', 0); call(304, root, handle, 0); print('ESCAPED')", &[Stage]),
    ]);
}

#[test]
fn sockets_of_others_are_out_of_reach() {
    let around = Surroundings::new();
    around.check(
        Network::Full,
        &[
            (
                "by path",
                "reach(socket.SOCK_STREAM, SECRET + '/socket'); print('ESCAPED')",
                &[Rooms],
            ),
            ("abstract", "reach(socket.SOCK_STREAM, '\\0' + SECRET); print('ESCAPED')", &[Fence]),
            (
                "raw",
                "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); print('ESCAPED')",
                &[Stage],
            ),
            (
                "raw, of the new kind",
                "socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58); print('ESCAPED')",
                &[Stage],
            ),
            (
                "packets",
                "socket.socket(socket.AF_PACKET, socket.SOCK_RAW); print('ESCAPED')",
                &[Stage],
            ),
            (
                "of the kernel's other parts",
                "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15); print('ESCAPED')",
                &[],
            ),
        ],
    );
    if can_connect() {
        // Whoever connects without a stream sends nothing: it is asked for the way only.
        let ways = "for address in ['169.254.169.254', '168.63.129.16', '169.254.170.2', '100.100.100.200', 'fd00:ec2::254', 'fd20:ce::254']:\n\
                    \x20   kind = socket.AF_INET6 if ':' in address else socket.AF_INET\n\
                    \x20   try: reach(socket.SOCK_DGRAM, (address, 9), kind); print('ESCAPED', address)\n\
                    \x20   except OSError as error: print(address, error.strerror)";
        let flags = "import fcntl\nany = socket.socket()\n\
                     flags = fcntl.ioctl(any, 0x8913, struct.pack('16sh14x', b'lo', 0))\n\
                     fcntl.ioctl(any, 0x8914, flags); print('ESCAPED')";
        around.check(Network::Full, &[
            ("loopback of the machine, with a network", "reach(socket.SOCK_STREAM, ('127.0.0.1', PORT), socket.AF_INET); print('ESCAPED')", &[]),
            ("the metadata of a cloud", ways, &[]),
            ("change an interface", flags, &[]),
            ("the machine's network", "print('ESCAPED' if os.readlink('/proc/self/ns/net') == MACHINES['net'] else 'own')", &[]),
            ("the machine's interfaces by name", "print('ESCAPED' if os.listdir('/sys/class/net') else 'none')", &[]),
        ]);
    }
    around.check(Network::None, &[
        ("loopback of the machine", "reach(socket.SOCK_STREAM, ('127.0.0.1', PORT), socket.AF_INET); print('ESCAPED')", &[Rooms]),
        ("abstract, without a network", "reach(socket.SOCK_STREAM, '\\0' + SECRET); print('ESCAPED')", &[Rooms]),
        ("a route to the metadata", "routes = open('/proc/net/route').read().splitlines()[1:]; print('ESCAPED' if routes else 'no route')", &[Rooms]),
        ("interfaces", "print('ESCAPED' if len(socket.if_nameindex()) > 1 else 'loopback only')", &[Rooms]),
        ("interfaces by name", "print('ESCAPED' if os.listdir('/sys/class/net') else 'none')", &[Rooms]),
    ]);
    around.check(Network::Loopback, &[
        ("a way out of the loopback", "routes = open('/proc/net/route').read().splitlines()[1:]; print('ESCAPED' if routes else 'no route')", &[Rooms]),
    ]);
}

#[test]
fn the_kernel_is_asked_for_little() {
    // Called with arguments that make no sense: what matters is who says no. Outside it is the
    // call itself, inside nobody hears it.
    let refused = |number: i32, arguments: &str| {
        format!(
            "libc.syscall({number}, {arguments}); error = ctypes.get_errno()\n\
             print('ESCAPED' if error != 1 else 'refused')"
        )
    };
    let attempts = [
        ("io_uring_setup", refused(425, "0, 0")),
        ("io_uring_enter", refused(426, "-1, 0, 0, 0, 0, 0")),
        ("io_uring_register", refused(427, "-1, 0, 0, 0")),
        ("perf_event_open", refused(298, "0, 0, -1, -1, 0")),
        ("bpf", refused(321, "0, 0, 0")),
        ("userfaultfd", refused(323, "0xffff")),
        ("keyctl", refused(250, "0, -3, 0, 0, 0")),
        ("add_key", refused(248, "0, 0, 0, 0, 0")),
        ("request_key", refused(249, "0, 0, 0, 0")),
        ("kcmp", refused(312, "1 << 22, 1 << 22, 0, 0, 0")),
        ("syslog", refused(103, "10, 0, 0")),
        ("fanotify_init", refused(300, "0xffffffff, 0")),
        ("move_mount", refused(429, "-1, 0, -1, 0, 0xffffffff")),
        ("fsopen", refused(430, "0, 0")),
        ("setns", refused(308, "-1, 0")),
        ("acct", refused(163, "b'/nonexistent'")),
        ("quotactl", refused(179, "0xffffffff, 0, 0, 0")),
        ("typing into a terminal", "import fcntl, termios\nprimary, terminal = os.openpty(); pid = os.fork()\nif pid == 0:\n    os.setsid(); fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)\n    try: fcntl.ioctl(terminal, termios.TIOCSTI, b'x'); os._exit(0)\n    except OSError as error: os._exit(0 if error.errno == 5 else 1)\nprint('ESCAPED' if os.waitpid(pid, 0)[1] == 0 else 'refused')".to_owned()),
        ("numbers of another kind", "pid = os.fork()\nif pid == 0: libc.syscall(0x40000000 + 39); os._exit(0)\nprint('ESCAPED' if os.waitpid(pid, 0)[1] == 0 else 'killed')".to_owned()),
    ];
    let attempts: Vec<Attempt<'_>> =
        attempts.iter().map(|(name, text)| (*name, text.as_str(), &[][..])).collect();
    Surroundings::new().check(Network::Full, &attempts);
}

#[test]
fn nothing_of_ours_leaks_in() {
    let script = "import os\n\
        print(sorted(os.environ))\n\
        for number in sorted(os.listdir('/proc/self/fd'), key=int):\n\
        \x20   try: print(number, os.readlink(f'/proc/self/fd/{number}').split(':')[0])\n\
        \x20   except OSError: pass";
    let mut run = TestRun::of(script);
    run.launch.sandbox = Some(policy());

    let (run, _) = run.carried_out();

    assert_eq!(
        run.text(),
        "['LC_CTYPE', 'PATH', 'TMPDIR', 'TRAINYARD_RUN_ID']\n0 /dev/null\n1 pipe\n2 pipe\n"
    );
}

#[test]
fn a_script_cannot_end_the_process_that_reports_on_it() {
    let script = "import os, signal\n\
        for number in signal.valid_signals():\n\
        \x20   os.kill(1, number)\n\
        print('still here', flush=True)\nraise SystemExit(4)";
    let mut run = TestRun::of(script);
    run.launch.sandbox = Some(policy());

    let (run, record) = run.carried_out();

    assert_eq!((run.text().as_str(), record.code), ("still here\n", Some(4)));
}
