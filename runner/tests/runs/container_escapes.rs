//! What a run in a container cannot do. Each attempt is made twice: in a container of ours, where it
//! fails, and in one that `docker run` starts with the right that ours lack, where it succeeds, so
//! that it is known to be an attempt.
//!
//! As in [`sandbox_escapes`](crate::sandbox_escapes), attempts print `ESCAPED` when they got what
//! they wanted, and nothing is ever sent off this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::container::{BASE_IMAGE, ContainerRun, docker};
use crate::sandbox_escapes::Surroundings;
use crate::support::{kill, python, wait_until};

/// Makes the attempts, each in a process of its own.
const MAKE_ATTEMPTS: &str = r#"
for name, attempt in ATTEMPTS:
    print("==", name, flush=True)
    pid = os.fork()
    if pid == 0:
        try: exec(attempt)
        except BaseException as error: print("refused:", repr(error))
        sys.stdout.flush(); os._exit(0)
    print("status", os.waitpid(pid, 0)[1], flush=True)
"#;

/// Makes each attempt in `ours` and in a container that has these `rights`, and lists those that
/// were no attempts, or escaped.
fn check(
    around: &Surroundings,
    rights: &[&str],
    mut ours: ContainerRun,
    attempts: &[(&str, &str)],
) {
    // Text is written in Python as it is in Rust.
    let list = attempts.iter().map(|(name, attempt)| format!("({name:?}, {attempt:?}),"));
    let list: String = list.collect();
    let script = format!("{}ATTEMPTS = [{list}]\n{MAKE_ATTEMPTS}", around.known());
    let program = ["python3", "-u", "-c", &script];
    ours.launch.program = program.map(str::to_owned).to_vec();
    ours.launch.timeout_seconds = Some(60.0);

    let (ours, record) = ours.carried_out();

    let arguments = [&["run", "--rm"], rights, &[BASE_IMAGE], &program].concat();
    let outside = docker(None, &arguments).expect("a container with the right");
    let (inside, outside) = (made(&ours.text()), made(&outside));
    assert_eq!((inside.len(), outside.len()), (attempts.len(), attempts.len()), "{record:?}");
    let mut wrong = String::new();
    for (inside, outside) in inside.iter().zip(&outside) {
        if inside.contains("ESCAPED") || !outside.contains("ESCAPED") {
            wrong += &format!("ours: {inside}with the right: {outside}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Takes apart what attempts said.
fn made(said: &str) -> Vec<String> {
    said.split("== ").skip(1).map(str::to_owned).collect()
}

#[test]
fn files_of_the_machine_are_not_there() {
    let Some(ours) = ContainerRun::of("") else { return };
    let around = Surroundings::new();
    let shown = |path: &std::path::Path| format!("--volume={0}:{0}", path.display());
    let records =
        format!("print('ESCAPED', len(open('{}').read()))", ours.directory.launch_json().display());
    let rights = [
        shown(around.directory.path()),
        shown(ours.base()),
        shown("/var/run/docker.sock".as_ref()),
        shown("/etc/shadow".as_ref()),
    ];
    let rights = rights.each_ref().map(String::as_str);
    check(
        &around,
        &rights,
        ours,
        &[
            ("a file of another", "print('ESCAPED', open(SECRET + '/key').read())"),
            ("write next to it", "open(SECRET + '/new', 'w').write('x'); print('ESCAPED')"),
            (
                "a link out",
                "os.symlink(SECRET + '/key', '/tmp/link'); print('ESCAPED', open('/tmp/link').read())",
            ),
            ("the run's own records", &records),
            (
                "the engine's socket",
                "reach(socket.SOCK_STREAM, '/var/run/docker.sock'); print('ESCAPED')",
            ),
            ("another's socket", "reach(socket.SOCK_STREAM, SECRET + '/socket'); print('ESCAPED')"),
            (
                "the machine's disk by what is mounted",
                "mounts = open('/proc/self/mountinfo').read(); print('ESCAPED' if '/etc/shadow' in mounts else 'the run only')",
            ),
        ],
    );
}

#[test]
fn processes_of_others_are_not_there() {
    let Some(ours) = ContainerRun::of("") else { return };
    check(
        &Surroundings::new(),
        &["--pid=host", "--cap-add=SYS_PTRACE", "--security-opt=apparmor=unconfined"],
        ours,
        &[
            ("see", "os.stat(f'/proc/{BYSTANDER}'); print('ESCAPED')"),
            ("signal", "os.kill(BYSTANDER, 0); print('ESCAPED')"),
            (
                "its environment",
                "print('ESCAPED' if b'hunter2' in open(f'/proc/{BYSTANDER}/environ', 'rb').read() else '')",
            ),
            ("its files", "print('ESCAPED', open(f'/proc/{BYSTANDER}/root{SECRET}/key').read())"),
            ("its memory", "open(f'/proc/{BYSTANDER}/mem', 'rb').close(); print('ESCAPED')"),
            ("trace it", "call(101, 0x4206, BYSTANDER, 0, 0); print('ESCAPED')"),
            ("its priority", "print('ESCAPED', os.getpriority(os.PRIO_PROCESS, BYSTANDER))"),
            ("a descriptor by number", "call(434, BYSTANDER, 0); print('ESCAPED')"),
            (
                "the number of processes",
                "print('ESCAPED' if len([it for it in os.listdir('/proc') if it.isdigit()]) > 8 else 'few')",
            ),
        ],
    );
}

/// Memory of System V, for all of this machine.
struct Segment(String);

impl Segment {
    fn make() -> Self {
        let answer = Command::new("ipcmk").args(["--shmem", "4096", "--mode", "0666"]).output();
        let said = String::from_utf8(answer.unwrap().stdout).unwrap();
        Self(said.trim().rsplit(' ').next().unwrap().to_owned())
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        drop(Command::new("ipcrm").args(["--shmem-id", &self.0]).status());
    }
}

#[test]
fn shared_memory_of_others_is_not_there() {
    let Some(ours) = ContainerRun::of("") else { return };
    let file = tempfile::Builder::new().prefix("secret").tempfile_in("/dev/shm").unwrap();
    let segment = Segment::make();
    let attach = format!(
        "libc.shmat.restype = ctypes.c_long; print('ESCAPED' if libc.shmat({}, None, 0o10000) != -1 else 'none')",
        segment.0
    );
    let open = format!("open({:?}).close(); print('ESCAPED')", file.path());
    check(
        &Surroundings::new(),
        &["--ipc=host"],
        ours,
        &[
            ("memory of System V", &attach),
            ("memory as a file", &open),
            (
                "queues and semaphores",
                "print('ESCAPED' if os.readlink('/proc/self/ns/ipc') == MACHINES['ipc'] else 'own')",
            ),
        ],
    );
}

#[test]
fn nobody_has_what_root_has_in_a_container() {
    let Some(ours) = ContainerRun::of("") else { return };
    check(
        &Surroundings::new(),
        &[],
        ours,
        &[
            (
                "capabilities",
                "text = open('/proc/self/status').read(); print('ESCAPED' if any(int(line.split()[1], 16) for line in text.splitlines() if line.startswith('Cap')) else 'none')",
            ),
            (
                "new privileges",
                "print('ESCAPED' if 'NoNewPrivs:\\t0' in open('/proc/self/status').read() else 'none')",
            ),
            (
                "no filter of system calls but the engine's",
                "print('ESCAPED' if 'Seccomp:\\t2' in open('/proc/self/status').read() and os.chroot('/usr') is None else 'refused')",
            ),
            ("another user", "os.setgroups([1]); os.setuid(65534); print('ESCAPED')"),
            ("another owner", "open('/tmp/x', 'w'); os.chown('/tmp/x', 1, 1); print('ESCAPED')"),
            (
                "a device",
                "os.mknod('/tmp/device', 0o600 | 0o20000, os.makedev(1, 3)); print('ESCAPED')",
            ),
            ("raw packets", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); print('ESCAPED')"),
            ("packets", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW); print('ESCAPED')"),
        ],
    );
}

#[test]
fn nobody_has_what_the_privileged_have() {
    let Some(ours) = ContainerRun::of("") else { return };
    let handle = "handle = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128)); mount = ctypes.c_int()\n\
        call(303, -100, b'/etc/hosts', handle, ctypes.byref(mount), 0)\n\
        place = os.open('/etc/hosts', 0); call(304, place, handle, 0); print('ESCAPED')";
    let setting = "path = '/proc/sys/vm/swappiness'; value = open(path).read()\n\
        open(path, 'w').write(value); print('ESCAPED')";
    check(
        &Surroundings::new(),
        // As `--privileged`, which starts nothing on a machine that itself lacks a capability.
        &[
            "--cap-add=SYS_ADMIN",
            "--cap-add=SYS_NICE",
            "--cap-add=SYSLOG",
            "--cap-add=DAC_READ_SEARCH",
            "--security-opt=seccomp=unconfined",
            "--security-opt=apparmor=unconfined",
            "--security-opt=systempaths=unconfined",
            "--device=/dev/kmsg",
        ],
        ours,
        &[
            ("mount", "call(165, b'none', b'/mnt', b'tmpfs', 0, 0); print('ESCAPED')"),
            ("a new file system", "call(430, b'tmpfs', 0); print('ESCAPED')"),
            ("a namespace of mounts", "call(272, 0x20000); print('ESCAPED')"),
            ("the host's name", "socket.sethostname('other'); print('ESCAPED')"),
            ("a setting of the kernel", setting),
            ("the kernel's words", "call(103, 10, 0, 0); print('ESCAPED')"),
            ("a higher priority", "os.setpriority(os.PRIO_PROCESS, 0, -5); print('ESCAPED')"),
            ("a file by its handle", handle),
            ("a device", "os.stat('/dev/kmsg'); print('ESCAPED')"),
        ],
    );
}

#[test]
fn the_kernel_is_asked_for_less_than_it_answers() {
    let Some(ours) = ContainerRun::of("") else { return };
    let rights = ["--cap-drop=ALL", "--security-opt=seccomp=unconfined"];
    // Called with arguments that make no sense: what matters is who says no.
    let attempts = [
        ("keyctl", "250, 0, -3, 0, 0, 0"),
        ("add_key", "248, 0, 0, 0, 0, 0"),
        ("request_key", "249, 0, 0, 0, 0"),
        ("userfaultfd", "323, 0xffff"),
        ("kcmp", "312, os.getpid(), os.getpid(), 0, 0, 0"),
        ("personality", "135, 0x0040000"),
        ("unshare", "272, 0x10000000"),
        ("clone", "56, 0x10000000 | 0x400, 0, 0, 0, 0"),
    ];
    let attempts = attempts.map(|(name, arguments)| {
        let attempt = format!(
            "libc.syscall({arguments}); error = ctypes.get_errno()\n\
             print('ESCAPED' if error != 1 else 'refused')"
        );
        (name, attempt)
    });
    let attempts: Vec<_> = attempts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    check(&Surroundings::new(), &rights, ours, &attempts);
}

#[test]
fn a_user_stays_that_user() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("\n*** NOT TESTED: only root can make a program that makes root ***\n");
        return;
    }
    let given = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(given.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let id = given.path().join("id");
    fs::copy("/usr/bin/id", &id).unwrap();
    fs::set_permissions(&id, fs::Permissions::from_mode(0o4755)).unwrap();
    fs::write(given.path().join("private"), "hunter2").unwrap();
    fs::set_permissions(given.path().join("private"), fs::Permissions::from_mode(0o600)).unwrap();
    let volume = format!("--volume={}:/given", given.path().display());
    let ours = || {
        let mut run = ContainerRun::with("", &[&volume])?;
        run.container().user = "12345:12345".to_owned();
        Some(run)
    };
    let Some(run) = ours() else { return };
    let around = Surroundings::new();
    check(
        &around,
        &[&volume, "--user=12345:12345"],
        run,
        &[(
            "a program that makes root",
            "print('ESCAPED' if subprocess.check_output(['/given/id', '-u']) == b'0\\n' else 'nobody new')",
        )],
    );
    check(
        &around,
        &[&volume],
        ours().unwrap(),
        &[
            ("a file of root", "print('ESCAPED', open('/given/private').read())"),
            ("a file of the system", "open('/etc/passwd', 'a').close(); print('ESCAPED')"),
            ("be root", "print('ESCAPED' if 0 in os.getresuid() + os.getresgid() else 'somebody')"),
        ],
    );
}

#[test]
fn a_container_without_a_network_reaches_nothing() {
    let Some(ours) = ContainerRun::of("") else { return };
    check(
        &Surroundings::new(),
        &[],
        ours,
        &[
            (
                "interfaces",
                "print('ESCAPED' if len(socket.if_nameindex()) > 1 else 'loopback only')",
            ),
            (
                "a way out",
                "routes = open('/proc/net/route').read().splitlines()[1:]; print('ESCAPED' if routes else 'no route')",
            ),
            (
                "the metadata of a cloud",
                "reach(socket.SOCK_DGRAM, ('169.254.169.254', 9), socket.AF_INET); print('ESCAPED')",
            ),
        ],
    );
}

#[test]
fn the_machines_own_network_is_out_of_reach() {
    for network in ["none", "bridge"] {
        let Some(mut ours) = ContainerRun::of("") else { return };
        ours.container().network = network.to_owned();
        check(
            &Surroundings::new(),
            &["--network=host"],
            ours,
            &[
                (
                    "its loopback",
                    "reach(socket.SOCK_STREAM, ('127.0.0.1', PORT), socket.AF_INET); print('ESCAPED')",
                ),
                (
                    "an abstract socket",
                    "reach(socket.SOCK_STREAM, '\\0' + SECRET); print('ESCAPED')",
                ),
                (
                    "its namespace",
                    "print('ESCAPED' if os.readlink('/proc/self/ns/net') == MACHINES['net'] else 'own')",
                ),
            ],
        );
    }
}

#[test]
fn the_metadata_of_a_cloud_is_out_of_reach_and_everything_else_is_not() {
    let Some(mut ours) = ContainerRun::of("") else { return };
    ours.container().network = "bridge".to_owned();
    // Whoever connects without a stream sends nothing: it is asked for the way only.
    let way = "way = socket.socket(type=socket.SOCK_DGRAM); way.connect((ADDRESS, 9))\n\
               begin = way.getsockname()[0]; is_link = begin.startswith('169.254.')\n";
    let credentials =
        ["169.254.169.254", "169.254.170.2"].map(|address| format!("ADDRESS = '{address}'\n{way}"));
    let attempts = credentials
        .map(|way| way + "print('a link without others' if is_link else 'ESCAPED', begin)");
    let attempts = attempts.each_ref().map(|attempt| ("credentials", attempt.as_str()));
    check(&Surroundings::new(), &[], ours, &attempts);

    let elsewhere = format!("import socket\nADDRESS = '192.0.2.1'\n{way}print(is_link)");
    let Some(mut ours) = ContainerRun::of(&elsewhere) else { return };
    ours.container().network = "bridge".to_owned();
    assert_eq!(ours.carried_out().0.text(), "False\n");
}

#[test]
fn no_more_is_taken_than_was_given() {
    let arguments = [
        "--memory=64m",
        "--pids-limit=32",
        "--shm-size=1m",
        "--read-only",
        "--tmpfs=/scratch:size=1m",
    ];
    let Some(ours) = ContainerRun::with("", &arguments) else { return };
    let many = "import time\nchildren = []\ntry:\n\
        \x20   for _ in range(64):\n\
        \x20       children.append(os.fork())\n\
        \x20       if children[-1] == 0: time.sleep(60); os._exit(0)\n\
        \x20   print('ESCAPED')\n\
        finally:\n\
        \x20   for child in children: os.kill(child, 9) if child else None";
    check(
        &Surroundings::new(),
        &["--tmpfs=/scratch:size=64m"],
        ours,
        &[
            ("memory", "taken = b'x' * (256 << 20); print('ESCAPED')"),
            ("processes", many),
            ("shared memory", "open('/dev/shm/x', 'wb').write(bytes(2 << 20)); print('ESCAPED')"),
            (
                "a file system in memory",
                "open('/scratch/x', 'wb').write(bytes(2 << 20)); print('ESCAPED')",
            ),
            ("the image's files", "open('/usr/x', 'w').close(); print('ESCAPED')"),
        ],
    );
}

/// Leaves a process of its own session and without any variable, which is called `name`.
fn leaves(name: &str) -> String {
    format!(
        "import os, time\n\
         if os.fork() == 0:\n\
         \x20   os.setsid()\n\
         \x20   if os.fork(): os._exit(0)\n\
         \x20   for number in range(3): os.close(number)\n\
         \x20   os.execve('/bin/sleep', [{name:?}, '1000'], {{}})\n\
         os.wait()\n\
         print('left')"
    )
}

/// Returns the processes of this machine that are called `name`.
fn called(name: &str) -> Vec<i32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        command.starts_with(name.as_bytes()).then_some(pid)
    });
    processes.collect()
}

#[test]
fn what_outlives_a_script_is_ended_with_its_container() {
    let name = format!("leftover-{}", std::process::id());
    let Some(ours) = ContainerRun::of(&leaves(&name)) else { return };

    let (ours, _) = ours.carried_out();

    assert_eq!((ours.text().as_str(), called(&name)), ("left\n", vec![]));
    let status = Command::new(python()).args(["-c", &leaves(&name)]).stdout(Stdio::null()).status();
    assert!(status.unwrap().success());
    wait_until("it is there outside", || !called(&name).is_empty());
    for pid in called(&name) {
        kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
}
