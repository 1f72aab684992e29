//! A second Docker engine that a test may stop, and images made on the spot.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use crate::container::docker;
use crate::support::{kill, wait_until};

/// An engine with files, socket and containers of its own, and no network but `none`; gone when
/// dropped.
pub(crate) struct OwnEngine {
    daemon: Child,
    live_restore: bool,
    directory: tempfile::TempDir,
}

impl OwnEngine {
    /// Starts one; `None` where none can be started: only root can.
    pub(crate) fn start(live_restore: bool) -> Option<Self> {
        let here = Command::new("dockerd").arg("--version").stdout(Stdio::null()).status();
        if !here.is_ok_and(|status| status.success()) || !nix::unistd::geteuid().is_root() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs dockerd and root");
            eprintln!("\n*** NOT TESTED: only root can start engines of its own ***\n");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("engine").tempdir().unwrap();
        fs::write(directory.path().join("daemon.json"), "{}").unwrap();
        let daemon = daemon(&directory, live_restore);
        let engine = Self { daemon, live_restore, directory };
        engine.wait();
        Some(engine)
    }

    /// Returns the value of `DOCKER_HOST` for it.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.path("docker.sock").display())
    }

    /// Stops it as an administrator does; containers go on only with live-restore.
    pub(crate) fn stop(&mut self) {
        kill(self.daemon.id().cast_signed(), Signal::SIGTERM);
        self.daemon.wait().unwrap();
    }

    /// Starts it again.
    pub(crate) fn start_again(&mut self) {
        self.daemon = daemon(&self.directory, self.live_restore);
        self.wait();
    }

    /// Has it neither answer nor refuse, until it is thawed.
    pub(crate) fn freeze(&self) {
        kill(self.daemon.id().cast_signed(), Signal::SIGSTOP);
    }

    /// Has it answer again.
    pub(crate) fn thaw(&self) {
        kill(self.daemon.id().cast_signed(), Signal::SIGCONT);
    }

    fn wait(&self) {
        wait_until("the engine answers", || docker(Some(&self.host()), &["version"]).is_some());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn daemon(directory: &tempfile::TempDir, live_restore: bool) -> Child {
    let path = |name: &str| directory.path().join(name).display().to_string();
    let log = fs::File::options().create(true).append(true).open(path("log")).unwrap();
    // In a network of its own: an engine without a bridge removes the bridge of other engines.
    Command::new("unshare")
        .args(["--net", "dockerd"])
        .args(["-H", &format!("unix://{}", path("docker.sock"))])
        .args(["--data-root", &path("data"), "--exec-root", &path("exec")])
        .args(["--pidfile", &path("pid"), "--config-file", &path("daemon.json")])
        .args(["--bridge=none", "--iptables=false"])
        .arg(format!("--live-restore={live_restore}"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if self.daemon.try_wait().ok().flatten().is_none() {
            self.stop();
        }
        let containerd = fs::read_to_string(self.path("exec/containerd/containerd.pid"));
        if let Some(pid) = containerd.ok().and_then(|pid| pid.trim().parse().ok()) {
            kill(pid, Signal::SIGKILL);
        }
        // The engine leaves mounts of network namespaces, and of what it lost.
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let ours = self.directory.path().display().to_string();
        for mount in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
            if mount.starts_with(&ours) {
                drop(Command::new("umount").args(["-l", mount]).output());
            }
        }
    }
}

/// An image of a shell, `sleep` and what they need of this machine; gone when dropped.
pub(crate) struct SmallImage {
    pub(crate) name: String,
    host: Option<String>,
}

impl SmallImage {
    /// Makes one whose shell is at `shell`.
    pub(crate) fn make(host: Option<&str>, shell: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        put("/bin/dash", &root.join(&shell[1..]));
        put("/bin/sleep", &root.join("bin/sleep"));
        for program in ["/bin/dash", "/bin/sleep"] {
            let needed = Command::new("ldd").arg(program).output().unwrap();
            let needed = String::from_utf8(needed.stdout).unwrap();
            for path in needed.split_whitespace().filter(|word| word.starts_with('/')) {
                put(path, &root.join(&path[1..]));
            }
        }
        let archive = directory.path().join("image.tar");
        let tar =
            Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&root).arg(".").status();
        assert!(tar.unwrap().success());
        let unique = directory.path().file_name().unwrap().to_string_lossy().to_lowercase();
        let name = format!("trainyard-test-small:{}", unique.replace('.', ""));
        docker(host, &["import", archive.to_str().unwrap(), &name]).unwrap();
        Self { name, host: host.map(str::to_owned) }
    }
}

fn put(from: &str, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
}

impl Drop for SmallImage {
    fn drop(&mut self) {
        docker(self.host.as_deref(), &["rmi", "-f", &self.name]);
    }
}
