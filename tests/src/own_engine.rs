//! A second Docker engine that a test may stop and kill, gone when dropped.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::engine::{BASE_IMAGE, docker, docker_is_here};
use crate::{is_alive, wait_until};

/// An engine with files, socket and containers of its own, and no network but `none`.
pub struct OwnEngine {
    daemon: Child,
    live_restore: bool,
    directory: TempDir,
}

impl OwnEngine {
    /// Starts one that has the base image; `None` where none can be started: only root can.
    #[must_use]
    pub fn start(live_restore: bool) -> Option<Self> {
        if !docker_is_here() || !nix::unistd::geteuid().is_root() {
            eprintln!("\n*** LEFT OUT, NOTHING WAS TESTED: only root starts engines ***\n");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("engine").tempdir().unwrap();
        fs::write(directory.path().join("daemon.json"), "{}").unwrap();
        let daemon = daemon(&directory, live_restore);
        let engine = Self { daemon, live_restore, directory };
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
        self.daemon = daemon(&self.directory, self.live_restore);
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

fn daemon(directory: &TempDir, live_restore: bool) -> Child {
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
