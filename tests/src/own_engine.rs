//! Docker engines that a test may stop and kill, gone when dropped: as root, without root, or
//! behind TLS.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::engine::{BASE_IMAGE, docker, docker_is_here};
use crate::{Yard, is_alive, wait_until};

/// Who an engine without root runs as: a user that nobody is.
pub const ROOTLESS_USER: u32 = 1_234_567;

/// Where an engine speaks TLS, in its own network.
pub const TLS_HOST: &str = "tcp://127.0.0.1:2376";

/// What else an engine is told.
#[derive(Clone, PartialEq, Eq)]
enum Kind {
    AsRoot {
        live_restore: bool,
    },
    Rootless,
    /// With certificates that are in this directory.
    Tls {
        certificates: PathBuf,
    },
}

/// An engine with files, socket and containers of its own. As root it has no network but `none`.
pub struct OwnEngine {
    daemon: Child,
    kind: Kind,
    directory: TempDir,
}

impl OwnEngine {
    /// Starts one that has the base image; `None` where none can be started: only root can.
    #[must_use]
    pub fn start(live_restore: bool) -> Option<Self> {
        Self::of_kind(Kind::AsRoot { live_restore })
    }

    /// The same as [`ROOTLESS_USER`], in namespaces that this user made.
    #[must_use]
    pub fn rootless() -> Option<Self> {
        let restricted = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
        if fs::read_to_string(restricted).is_ok_and(|value| value.trim() == "1") {
            eprintln!("\n*** LEFT OUT, NOTHING WAS TESTED: AppArmor restricts namespaces ***\n");
            return None;
        }
        Self::of_kind(Kind::Rootless)
    }

    /// One that also speaks TLS at [`TLS_HOST`], in a network of its own, to whoever has the
    /// certificates of `certificates`.
    #[must_use]
    pub fn tls(certificates: &Path) -> Option<Self> {
        Self::of_kind(Kind::Tls { certificates: certificates.to_owned() })
    }

    /// Returns the binary as one runs it in `yard` within the engine's network.
    #[must_use]
    pub fn trainyard(&self, yard: &Yard) -> Command {
        let mut command = Command::new("nsenter");
        let inside = yard.trainyard();
        command.arg(format!("--net=/proc/{}/ns/net", self.daemon.id())).arg(inside.get_program());
        command.env_clear().current_dir(inside.get_current_dir().unwrap()).stdin(Stdio::null());
        for (name, value) in inside.get_envs() {
            command.env(name, value.unwrap());
        }
        command
    }

    fn of_kind(kind: Kind) -> Option<Self> {
        if !docker_is_here() || !nix::unistd::geteuid().is_root() {
            eprintln!("\n*** LEFT OUT, NOTHING WAS TESTED: only root starts engines ***\n");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("engine").tempdir().unwrap();
        fs::write(directory.path().join("daemon.json"), "{}").unwrap();
        if kind == Kind::Rootless {
            give(directory.path());
        }
        let daemon = daemon(&directory, &kind);
        let engine = Self { daemon, kind, directory };
        engine.wait();
        let archive = engine.path("image.tar");
        docker(["save", "-o", archive.to_str().unwrap(), BASE_IMAGE]);
        docker(["-H", &engine.host(), "load", "-q", "-i", archive.to_str().unwrap()]);
        fs::remove_file(archive).unwrap();
        Some(engine)
    }

    /// Returns the value of `DOCKER_HOST` for it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.path("docker.sock").display())
    }

    /// Stops it as an administrator does; containers go on only with live-restore.
    pub fn stop(&mut self) {
        self.end(Signal::SIGTERM);
    }

    /// Kills it, and the part of it that starts containers: it starts one of its own again.
    pub fn kill(&mut self) {
        self.end(Signal::SIGKILL);
        self.kill_containerd();
    }

    /// Starts it again.
    pub fn start_again(&mut self) {
        self.daemon = daemon(&self.directory, &self.kind);
        self.wait();
    }

    fn end(&mut self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.daemon.id()).unwrap()), signal).unwrap();
        self.daemon.wait().unwrap();
    }

    fn kill_containerd(&self) {
        let file = self.path("exec/containerd/containerd.pid");
        let pid = fs::read_to_string(&file).ok().and_then(|pid| pid.trim().parse().ok());
        let Some(pid) = pid else { return };
        crate::kill(pid);
        wait_until("containerd is gone", || !is_alive(pid));
        // Where nobody buries it, the next engine takes it for alive and waits for it.
        fs::remove_file(file).unwrap();
    }

    fn wait(&self) {
        wait_until("the engine answers", || {
            let version = Command::new("docker").args(["-H", &self.host(), "version"]).output();
            version.unwrap().status.success()
        });
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Returns the binary as [`ROOTLESS_USER`] would run it in `yard`, to which all of that belongs.
///
/// # Panics
///
/// When this is not root.
#[must_use]
pub fn trainyard_without_root(yard: &Yard) -> Command {
    use std::os::unix::process::CommandExt as _;
    let directory = yard.home().parent().unwrap().to_owned();
    // Nobody else may be let in where it was built.
    let binary = directory.join("trainyard");
    if !binary.exists() {
        fs::copy(crate::binary(), &binary).unwrap();
    }
    give(&directory);
    let mut command = Command::new(binary);
    command.env_clear().current_dir(&directory).stdin(Stdio::null());
    for (name, value) in yard.trainyard().get_envs() {
        command.env(name, value.unwrap());
    }
    command.uid(ROOTLESS_USER).gid(ROOTLESS_USER);
    command
}

/// Gives a directory with all that is in it to [`ROOTLESS_USER`].
fn give(path: &Path) {
    chown(path, Some(ROOTLESS_USER), Some(ROOTLESS_USER)).unwrap();
    for entry in fs::read_dir(path).into_iter().flatten() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => give(&entry.path()),
            false => {
                std::os::unix::fs::lchown(entry.path(), Some(ROOTLESS_USER), Some(ROOTLESS_USER))
                    .unwrap();
            }
        }
    }
}

fn daemon(directory: &TempDir, kind: &Kind) -> Child {
    let path = |name: &str| directory.path().join(name).display().to_string();
    let log = fs::File::options().create(true).append(true).open(path("log")).unwrap();
    let mut command = match kind {
        // In a network of its own: an engine without a bridge removes the bridge of other engines.
        Kind::AsRoot { live_restore } => {
            let mut command = Command::new("unshare");
            command
                .args(["--net", "dockerd", "--bridge=none", "--iptables=false"])
                .arg(format!("--live-restore={live_restore}"));
            command
        }
        Kind::Rootless => within_namespaces(&path("")),
        Kind::Tls { certificates } => {
            const START: &str = "ip link set lo up && exec dockerd \"$@\"";
            let file = |name| certificates.join(name);
            let mut command = Command::new("unshare");
            command
                .args(["--net", "sh", "-c", START, "dockerd", "-H", TLS_HOST, "--tlsverify"])
                .arg("--tlscacert")
                .arg(file("ca.pem"))
                .arg("--tlscert")
                .arg(file("cert.pem"))
                .arg("--tlskey")
                .arg(file("key.pem"));
            command
        }
    };
    let mut daemon = command
        .args(["-H", &format!("unix://{}", path("docker.sock"))])
        .args(["--data-root", &path("data"), "--exec-root", &path("exec")])
        .args(["--pidfile", &path("pid"), "--config-file", &path("daemon.json")])
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut stdin = daemon.stdin.take().unwrap();
    if *kind == Kind::Rootless {
        map_users(daemon.id());
        stdin.write_all(b"mapped\n").unwrap();
    }
    daemon
}

/// What starts an engine as rootlesskit does: in namespaces of an ordinary user, with directories
/// it writes to in memory, once it is told on standard input that its users are mapped.
fn within_namespaces(home: &str) -> Command {
    const START: &str = "read mapped && mount -t tmpfs run /run && mount -t tmpfs etc /etc/docker \
                         && exec dockerd --rootless \"$@\"";
    let user = ROOTLESS_USER.to_string();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &user, "--regid", &user, "--clear-groups"])
        .args(["unshare", "--user", "--mount", "--net", "sh", "-c", START, "dockerd"])
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home);
    command
}

/// Makes [`ROOTLESS_USER`] root of the namespace that `pid` is about to make, and the numbers above
/// it the other users.
fn map_users(pid: u32) {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    wait_until("it has a namespace", || namespace(&pid.to_string()) != namespace("self"));
    for map in ["uid_map", "gid_map"] {
        let users = format!("0 {ROOTLESS_USER} 1\n1 {} 65536\n", ROOTLESS_USER + 1);
        fs::write(format!("/proc/{pid}/{map}"), users).unwrap();
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if self.daemon.try_wait().ok().flatten().is_none() {
            self.end(Signal::SIGTERM);
        }
        self.kill_containerd();
        // The engine leaves the mounts of its network namespaces, and those of what it lost.
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let ours = self.directory.path().display().to_string();
        for mount in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
            if mount.starts_with(&ours) {
                drop(Command::new("umount").args(["-l", mount]).output());
            }
        }
    }
}
