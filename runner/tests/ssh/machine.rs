//! The VM that other tests rely on does what it says.

use std::fs;
use std::process::Command;

use crate::support::{connect, start};
use crate::vm::{USER, Vm, VmOptions};

fn said(vm: &Vm, line: &str) -> String {
    let output = connect(vm).run(line, &mut std::io::empty()).unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn it_says_it_is_ubuntu_unless_it_is_to_tell_the_truth() {
    let truthful = VmOptions { true_system: true, ..VmOptions::default() };
    let (Some(ubuntu), Some(truthful)) = (start(), Vm::start(truthful)) else { return };
    let line = ". /etc/os-release; echo $ID $VERSION_ID";

    assert_eq!(said(&ubuntu, line), "ubuntu 22.04");
    let own = fs::read_to_string("/etc/os-release").unwrap();
    let id = own.lines().find_map(|line| line.strip_prefix("ID=")).unwrap().trim_matches('"');
    assert!(said(&truthful, line).starts_with(id));
}

#[test]
fn it_is_another_boot_after_a_reboot_and_the_files_stay() {
    let Some(vm) = start() else { return };
    let boot_id = "cat /proc/sys/kernel/random/boot_id";
    let before = said(&vm, boot_id);
    said(&vm, "touch kept /dev/shm/gone; setsid sleep 1000 >/dev/null 2>&1 &");
    assert_eq!(said(&vm, "pgrep -c -u $USER sleep"), "1");

    vm.reboot();

    let after = said(&vm, boot_id);
    assert_ne!(before, after);
    assert_eq!(said(&vm, "ls ~ /dev/shm | grep -x -e kept -e gone"), "kept");
    assert_eq!(said(&vm, "pgrep -c -u $USER sleep"), "0");
    vm.reboot();
    assert_ne!(said(&vm, boot_id), after);
    assert_eq!(said(&vm, "sudo id -un; id -un").replace('\n', " "), format!("root {USER}"));
}

#[test]
fn its_disk_can_be_small_and_its_published_port_leads_to_it() {
    let small = VmOptions { disk_bytes: Some(1 << 20), ..VmOptions::default() };
    let Some(vm) = Vm::start(small) else { return };

    let output = vm.exec_as_user("head -c 2000000 /dev/zero >.trainyard/big");

    assert!(String::from_utf8_lossy(&output.stderr).contains("No space left on device"));
    let through = std::net::TcpStream::connect(("127.0.0.1", vm.published_port()));
    assert!(through.is_ok());
}

#[test]
fn its_engine_mounts_what_is_in_its_home() {
    let Some(vm) = Vm::start(VmOptions { docker: true, ..VmOptions::default() }) else { return };
    let home = vm.user_home().display().to_string();
    said(&vm, "mkdir d && echo text >d/file && test -w /var/run/docker.sock");

    let mount = format!("{home}/d:/d");
    let image = "trainyard-test-base:2";
    let seen = Command::new("docker")
        .args(["run", "--rm", "-v", &mount, image, "cat", "/d/file"])
        .output()
        .unwrap();

    assert_eq!(seen.stdout, b"text\n");
    assert_eq!(said(&vm, "test -w /var/run/docker.sock && echo ours"), "ours");
}
