//! Each layer of a sandbox alone. Where several stop the same attempt, one that is missing shows
//! only on a machine that has none of the others.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::libc;
use runner::exit_record::{ExitReason, ExitRecord};
use runner::run_configuration::Network;

use crate::sandbox::{BWRAP, carried_out_with, sandboxed, write_program};
use crate::sandbox_network::{can_connect, descendants};
use crate::support::{TestRun, kill, python, supervise_program, wait_until};

/// A layer that there is alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// Namespaces and mounts, of bubblewrap.
    Rooms,
    /// Landlock.
    Fence,
    /// What the stage within does to itself and the script on every machine.
    Stage,
}

/// Says whether machines that lack something can be made.
pub(crate) fn can_hide() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("\n*** NOT TESTED: only root can hide what a machine has ***\n");
    }
    is_root
}

/// Carries out `run` on a machine that has no layer but `layer`, whatever the run must have.
pub(crate) fn carried_out_with_only(layer: Layer, run: TestRun) -> (TestRun, ExitRecord) {
    let (run, mut supervisor) = started_with_only(layer, run);
    assert!(supervisor.wait().unwrap().success());
    let record = run.end();
    (run, record)
}

/// Starts it there.
fn started_with_only(layer: Layer, mut run: TestRun) -> (TestRun, Child) {
    if let Some(policy) = &mut run.launch.sandbox {
        policy.minimum = runner::sandbox::policy::Tier::None;
    }
    run.write_launch();
    let hide_filter = "mount -t tmpfs none /proc/sys/kernel/seccomp";
    let hide_rooms = if layer == Layer::Rooms { "true" } else { "mount --bind /dev/null $2" };
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c"])
        .arg(format!("{hide_filter} && {hide_rooms} && exec \"$0\" supervise \"$1\""))
        .args([supervise_program().as_path(), run.directory.path(), Path::new(BWRAP)])
        .stdout(Stdio::null());
    if layer != Layer::Fence {
        // SAFETY: the function makes one system call.
        unsafe { command.pre_exec(hide_landlock) };
    }
    let supervisor = command.spawn().unwrap();
    (run, supervisor)
}

/// Lets this process and all it starts find a kernel that has no Landlock, and nothing else changed:
/// root may do so without giving up new privileges.
fn hide_landlock() -> std::io::Result<()> {
    let statement = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let number = u32::try_from(libc::SYS_landlock_create_ruleset).unwrap_or_default();
    let refuse = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    // Load the number of the call; if it is that one refuse, else allow.
    let mut lines = [
        statement(0x20, 0, 0, 0),
        statement(0x15, 0, 1, number),
        statement(0x06, 0, 0, refuse),
        statement(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: lines.as_mut_ptr() };
    // SAFETY: the program and its lines outlive the call, which copies them.
    let answer = unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, std::ptr::from_ref(&program))
    };
    if answer == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Asks the kernel for what the filter refuses, with arguments that make no sense, and lists what
/// was answered: neither `EPERM` nor, since nobody is told which calls are refused here, `ENOSYS`. As
/// root, whom nothing but the filter is in the way of.
const CALLS: &str = r"
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
os.setsid()
answered = []
def note(name, result):
    if result != -1 or ctypes.get_errno() not in (1, 38): answered.append(name)
    ctypes.set_errno(0)
for name, number in CALLS.items():
    note(name, libc.syscall(number, *[ctypes.c_long(-1)] * 6))
for name, flag in {'mounts': 0x20000, 'cgroups': 0x2000000, 'uts': 0x4000000, 'ipc': 0x8000000, 'users': 0x10000000, 'processes': 0x20000000, 'network': 0x40000000}.items():
    child = libc.syscall(56, ctypes.c_long(flag | 17), 0, 0, 0, 0)
    if child == 0: os._exit(0)
    note('clone ' + name, child)
    if child > 0: os.waitpid(child, 0)
# 38 is AF_ALG, 40 AF_VSOCK.
for name, (family, kind, protocol) in {'raw': (2, 3, 1), 'raw 6': (10, 3, 58), 'packets': (17, 3, 0), 'kernel': (16, 3, 15), 'crypto': (38, 5, 0), 'host': (40, 1, 0)}.items():
    note('socket ' + name, libc.socket(family, kind, protocol))
note('socketpair', libc.socketpair(17, 3, 0, (ctypes.c_int * 2)()))
# Told that there is no such call, the C library takes the older one.
if libc.syscall(435, *[ctypes.c_long(-1)] * 2) != -1 or ctypes.get_errno() != 38: answered.append('clone3')
null = os.open('/dev/null', os.O_RDONLY)
for name, request in {'TIOCSTI': 0x5412, 'TIOCLINUX': 0x541c}.items():
    note(name, libc.ioctl(null, ctypes.c_ulong(request), 0))
print(' '.join(answered))
";

/// What the filter refuses, one call at least for each reason that it has.
#[cfg(target_arch = "x86_64")]
const NUMBERS: &str = "CALLS = dict(bpf=321, init_module=175, finit_module=313, delete_module=176, \
    kexec_load=246, perf_event_open=298, kcmp=312, syslog=103, fanotify_init=300, userfaultfd=323, \
    io_uring_setup=425, io_uring_enter=426, io_uring_register=427, keyctl=250, add_key=248, \
    request_key=249, ptrace=101, mount=165, umount2=166, pivot_root=155, chroot=161, move_mount=429, \
    open_tree=428, fsopen=430, fsmount=432, fsconfig=431, fspick=433, mount_setattr=442, setns=308, \
    unshare=272, open_by_handle_at=304, reboot=169, swapon=167, swapoff=168, acct=163, quotactl=179, \
    settimeofday=164, clock_settime=227, clock_adjtime=305, adjtimex=159, sethostname=170, \
    setdomainname=171, vhangup=153, iopl=172, ioperm=173, kexec_file_load=320, modify_ldt=154, \
    uselib=134, ustat=136, sysfs=139)";

#[test]
#[cfg(target_arch = "x86_64")]
fn the_filter_of_the_sandbox_alone_refuses_what_it_lists() {
    if !can_hide() {
        return;
    }
    let script = format!("{NUMBERS}{CALLS}");
    let answered = |mut command: Command| {
        let output = command.args([python(), "-c", &script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut filtered = Command::new(supervise_program());
    filtered.arg("filtered");

    let without = answered(Command::new("env"));
    assert_eq!(answered(filtered), Vec::<String>::new());

    // Some kernels have not all of them, and answer as if they were refused.
    assert!(without.len() > 50, "{without:?}");
}

#[test]
fn the_limits_of_a_sandbox_are_its_own() {
    let script = "import resource\n\
        print(*[resource.getrlimit(limit) for limit in (resource.RLIMIT_CORE, 14, 13)])";
    let run = sandboxed(script);
    run.write_launch();
    let can_have = |limit: &&str| {
        let tried = Command::new("prlimit").args([limit, "true"]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    // Only CAP_SYS_RESOURCE raises the last two, which not every root has.
    let limits: Vec<_> =
        ["--core=4096", "--rtprio=10", "--nice=30"].into_iter().filter(can_have).collect();
    let mut command = Command::new("prlimit");
    command.args(&limits).arg(supervise_program()).arg("supervise").arg(run.directory.path());
    assert!(command.stdout(Stdio::null()).status().unwrap().success());

    run.end();
    assert_eq!(run.text(), "(0, 0) (0, 0) (0, 0)\n", "where it was {limits:?}");
}

#[test]
fn what_bubblewrap_has_in_its_environment_is_not_the_scripts() {
    let elsewhere = tempfile::tempdir_in("/var/tmp").unwrap();
    let (real, fake) = (elsewhere.path().join("real"), elsewhere.path().join("bwrap"));
    fs::copy(BWRAP, &real).unwrap();
    write_program(&fake, &format!("LEAK=x exec '{}' \"$@\"", real.display()));
    let run = sandboxed("import os; print('LEAK' in os.environ)");

    let Some(record) = carried_out_with(&run, &fake, BWRAP) else { return };

    assert_eq!((run.text().as_str(), record.reason), ("False\n", ExitReason::Completed));
}

#[test]
fn whoever_is_first_in_a_sandbox_has_no_power_but_to_give_up_more() {
    // CAP_SETPCAP, which empties the set that bounds what programs may gain.
    const MOST: u64 = 1 << 8;
    let elsewhere = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = |name: &str| elsewhere.path().join(name);
    fs::copy(BWRAP, at("real")).unwrap();
    // In the place of the stage within, which gives up the rest.
    let first = "/bin/sh -c 'grep -E \"^Cap(Inh|Prm|Eff|Amb)\" /proc/self/status >&2'";
    let here = elsewhere.path().display();
    let line = format!("[ \"$1\" = --args ] || exec '{here}/real' \"$@\"");
    let line = format!("{line}\nexec '{here}/real' --args \"$2\" -- {first} 2>'{here}/sets'");
    write_program(&at("bwrap"), &line);
    let mut run = sandboxed("print('ran')");
    // As root without a namespace of users, who has the most to give up.
    run.launch.sandbox.as_mut().unwrap().network = Network::None;

    let Some(record) = carried_out_with(&run, &at("bwrap"), BWRAP) else { return };

    assert_eq!(record.reason, ExitReason::SandboxFailed, "{}", record.message);
    let text = fs::read_to_string(at("sets")).unwrap();
    assert_eq!(text.lines().count(), 4, "{text}");
    for line in text.lines() {
        let set = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        assert_eq!(set & !MOST, 0, "{text}");
    }
}

/// A run that stays, and its processes.
struct Standing {
    run: TestRun,
    /// Bubblewrap's own.
    outer: PathBuf,
    /// The stage within.
    stage: PathBuf,
    script: PathBuf,
}

impl Standing {
    fn start() -> Self {
        let run = sandboxed("import time\nprint('ready', flush=True)\ntime.sleep(1000)");
        run.write_launch();
        let mut supervisor = Command::new(supervise_program())
            .arg("supervise")
            .arg(run.directory.path())
            .env("LEAK", "hunter2")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::spawn(move || supervisor.wait());
        wait_until("it was taken over", || run.directory.path().join("supervisor.json").exists());
        run.wait_for_output("ready");
        let below = descendants(run.supervisor().supervisor.pid);
        let with_parent = |parent: i32| below.iter().find(|one| one.parent == parent).unwrap().pid;
        let outer = below.iter().find(|one| one.is_called("bwrap")).unwrap().pid;
        let stage = with_parent(outer);
        let at = |pid: i32| PathBuf::from(format!("/proc/{pid}"));
        Self { outer: at(outer), stage: at(stage), script: at(with_parent(stage)), run }
    }

    fn end(&self) {
        self.run.cancel(true);
        self.run.end();
    }
}

#[test]
fn the_sandbox_has_nothing_of_its_makers_environment() {
    let standing = Standing::start();

    for process in [&standing.outer, &standing.stage, &standing.script] {
        let environment = fs::read(process.join("environ")).unwrap();
        let text = String::from_utf8_lossy(&environment).into_owned();
        assert!(!text.contains("hunter2"), "{process:?}: {text}");
    }
    standing.end();
}

#[test]
fn a_sandbox_that_is_connected_has_power_over_no_network() {
    if !can_connect() {
        return;
    }
    let standing = Standing::start();
    let keeper = descendants(standing.run.supervisor().supervisor.pid)
        .into_iter()
        .find(|one| one.is_called("pasta") || one.is_called("passt"))
        .map(|pasta| PathBuf::from(format!("/proc/{}", pasta.parent)))
        .unwrap();

    let users = |process: &Path| fs::read_link(process.join("ns/user")).unwrap();
    assert_ne!(users(&standing.script), users(&keeper), "who is root there rules its network");
    assert_ne!(users(&standing.script), users(Path::new("/proc/self")));
    standing.end();
}

#[test]
fn a_sandbox_ends_with_bubblewrap() {
    let standing = Standing::start();
    let pid = standing.outer.file_name().unwrap().to_str().unwrap().parse().unwrap();

    kill(pid, nix::sys::signal::Signal::SIGKILL);

    let record = standing.run.end();
    assert_eq!(record.signal, Some(9), "{record:?}");
}

#[test]
fn a_sandbox_without_rooms_ends_with_those_who_started_it() {
    if !can_hide() {
        return;
    }
    let script = "import time\nprint('ready', flush=True)\ntime.sleep(1000)";
    let (run, mut supervisor) = started_with_only(Layer::Fence, sandboxed(script));
    run.wait_for_output("ready");
    let record = run.supervisor();

    kill(record.guard.pid, nix::sys::signal::Signal::SIGKILL);
    kill(record.supervisor.pid, nix::sys::signal::Signal::SIGKILL);

    wait_until("the script is gone with them", || run.live_processes().is_empty());
    supervisor.wait().unwrap();
}
