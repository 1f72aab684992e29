//! The same with cgroups of version 2: `cgroups` once more, in a Linux of its own that runs as a
//! process (user-mode Linux) with this machine's files. Whichever version this machine has, both
//! are tested.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Booting takes 3 seconds, and all tests on a slow machine less than a minute.
const PATIENCE: Duration = Duration::from_secs(240);

/// Mounts what a machine has, enters a cgroup and runs the tests in it.
const INIT: &str = r#"#!/bin/sh
export PATH=SEARCH INSTA_UPDATE=no INSTA_WORKSPACE_ROOT=/
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for controller in memory cpu pids; do echo +$controller > /sys/fs/cgroup/cgroup.subtree_control; done
HERE
cd /tmp
RUN --test-threads=1 cgroups:: > RESULT.new 2>&1
mv RESULT.new RESULT
echo o > /proc/sysrq-trigger
sleep 60
"#;

/// Runs the tests of `cgroups` after `here`, with `launcher` in front; returns what they printed.
fn tested(here: &str, launcher: &str) -> Option<String> {
    let kernel = Command::new("linux.uml").arg("--version").stdout(Stdio::null()).status();
    if !kernel.is_ok_and(|status| status.success()) {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs user-mode-linux");
        eprintln!("\n*** NOT TESTED: there is no linux.uml (package user-mode-linux) ***\n");
        return None;
    }
    // Not in /tmp, which is another in there.
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (init, result) = (scratch.path().join("init"), scratch.path().join("result"));
    let tests = std::env::current_exe().unwrap();
    let text = INIT
        .replace("SEARCH", &std::env::var("PATH").unwrap())
        .replace("HERE", here)
        .replace("RUN", &format!("{launcher} {}", tests.display()))
        .replace("RESULT", &result.display().to_string());
    fs::write(&init, text).unwrap();
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
    Some(booted(&init, &result))
}

fn booted(init: &Path, result: &Path) -> String {
    let mut kernel = Command::new("linux.uml")
        .args(["mem=1G", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", "quiet"])
        .args(["con=null", "con0=fd:0,fd:1"])
        .arg(format!("init={}", init.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !result.exists() && kernel.try_wait().unwrap().is_none() {
        if begun.elapsed() > PATIENCE {
            kernel.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut console = String::new();
    kernel.stdout.take().unwrap().read_to_string(&mut console).unwrap();
    kernel.wait().unwrap();
    fs::read_to_string(result).unwrap_or_else(|_| panic!("it did not get that far: {console}"))
}

fn assert_passed(said: &str) {
    let passed = said.contains("test result: ok.") && !said.contains("NOT TESTED: this user");
    assert!(passed, "{said}");
}

#[test]
fn as_root_beside_a_service_on_version_2() {
    let here = "
        mkdir -p /sys/fs/cgroup/system.slice/agent.service
        echo $$ > /sys/fs/cgroup/system.slice/agent.service/cgroup.procs";
    let Some(said) = tested(here, "") else { return };
    assert_passed(&said);
}

#[test]
fn as_a_user_to_whom_a_part_of_version_2_was_given() {
    // As systemd does it: a service within a slice of the user's own.
    let here = "
        cd /sys/fs/cgroup
        mkdir -p user.slice/app.slice/agent.service
        echo '+memory +cpu +pids' > user.slice/cgroup.subtree_control
        chown 65534 user.slice/app.slice/agent.service user.slice/app.slice/agent.service/cgroup.*
        chown 65534 user.slice/app.slice user.slice/app.slice/cgroup.procs
        chown 65534 user.slice/app.slice/cgroup.subtree_control
        echo $$ > user.slice/app.slice/agent.service/cgroup.procs
        chmod 1777 /tmp";
    let Some(said) = tested(here, "setpriv --reuid 65534 --regid 65534 --clear-groups") else {
        return;
    };
    assert_passed(&said);
}
