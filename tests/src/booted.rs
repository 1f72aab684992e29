//! A machine that boots: a container whose first process is systemd, where a package of the binary
//! under test can be installed, upgraded and removed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::{binary, text, wait_until};

/// The image, made by `tests/engine.sh`.
const IMAGE: &str = "trainyard-test-systemd:2";

/// Boots with its own part of the control groups, which the engine shows it read-only.
const BOOT: &str = "for tree in /sys/fs/cgroup /sys/fs/cgroup/*; do \
    mount -o remount,rw,bind $tree; done 2>/dev/null; exec /sbin/init";

/// Makes a package of the binary under test that says it is of `version`.
///
/// # Panics
///
/// When it cannot be made.
#[must_use]
pub fn package(version: &str) -> PathBuf {
    let script = root().join("packaging/deb");
    let made = Command::new(script).arg(binary()).arg(version).output().unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    root().join(text(&made.stdout).trim())
}

/// Returns the root of the repository.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The machine. It is removed when dropped.
pub struct Booted {
    container: String,
}

impl Booted {
    /// Boots one and waits until it is up; `None` where there is no engine or no image, which it
    /// says.
    ///
    /// # Panics
    ///
    /// Under continuous integration (`CI=true`) where there is none.
    #[must_use]
    pub fn start() -> Option<Self> {
        let found = Command::new("docker").args(["image", "inspect", IMAGE]).output();
        if !found.is_ok_and(|found| found.status.success()) {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "there is no image {IMAGE}");
            eprintln!("\n*** LEFT OUT, NOTHING WAS TESTED: there is no image {IMAGE} ***\n");
            return None;
        }
        let mut run = Command::new("docker");
        run.args(["run", "--detach", "--network=none", "--stop-signal=SIGRTMIN+3"])
            .args(["--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined"])
            .args(["--security-opt=apparmor=unconfined", "--cgroupns=private"])
            .args(["--tmpfs=/run", "--tmpfs=/run/lock"]);
        let started = run.arg(IMAGE).args(["sh", "-c", BOOT]).output().unwrap();
        assert!(started.status.success(), "{}", text(&started.stderr));
        let machine = Self { container: text(&started.stdout).trim().to_owned() };
        wait_until("systemd is up", || {
            let state = text(&machine.root("systemctl is-system-running").stdout);
            ["running\n", "degraded\n"].contains(&state.as_str())
        });
        Some(machine)
    }

    /// Installs a package, or upgrades to it.
    pub fn install(&self, package: &Path) {
        let name = package.file_name().unwrap().to_str().unwrap();
        let target = format!("{}:/root/{name}", self.container);
        let copied = Command::new("docker").arg("cp").arg(package).arg(target).output().unwrap();
        assert!(copied.status.success(), "{}", text(&copied.stderr));
        self.ok(&format!("dpkg --install /root/{name}"));
    }

    /// Runs a shell line as root.
    #[must_use]
    pub fn root(&self, line: &str) -> Output {
        self.user("root", line)
    }

    /// Runs a shell line as `user`.
    #[must_use]
    pub fn user(&self, user: &str, line: &str) -> Output {
        let mut exec = Command::new("docker");
        exec.args(["exec", "--user", user, "--workdir", "/tmp", &self.container]);
        exec.args(["sh", "-c", line]).output().unwrap()
    }

    /// Runs a shell line as root, which must succeed, and returns what it printed.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        printed(line, &self.root(line))
    }

    /// Runs a shell line as `user`, which must succeed, and returns what it printed.
    #[track_caller]
    pub fn user_ok(&self, user: &str, line: &str) -> String {
        printed(line, &self.user(user, line))
    }

    /// Returns a property of a unit.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.ok(&format!("systemctl show --value -p {name} {unit}"))
    }
}

#[track_caller]
fn printed(line: &str, output: &Output) -> String {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{line}: {}\n{out}{err}", output.status);
    out.trim_end().to_owned()
}

impl Drop for Booted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.root("journalctl --no-pager -n 60; systemctl --failed --no-pager");
            eprintln!("{}", text(&log.stdout));
        }
        drop(Command::new("docker").args(["rm", "-f", "-v", &self.container]).output());
    }
}
