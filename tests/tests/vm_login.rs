//! Every way to log in to a machine over SSH, and where the secrets of it go.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tests::attached::{attach, files_with, with_secret};
use tests::vm::{KeyPair, PASSPHRASE, PASSWORD, Vm, VmOptions};
use tests::{Yard, text, wait_until};

/// Carries out `act` while every command line on this machine is looked at; returns those that had
/// `secret`, whether of this machine or of containers on it.
fn command_lines_with<T>(secret: &str, act: impl FnOnce() -> T) -> (T, Vec<String>) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut found = Vec::new();
            while !over.load(Ordering::Relaxed) {
                for entry in fs::read_dir("/proc").unwrap().flatten() {
                    let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                    if line.windows(secret.len()).any(|window| window == secret.as_bytes()) {
                        found.push(text(&line));
                    }
                }
                thread::sleep(Duration::from_millis(5));
            }
            found
        });
        let done = act();
        over.store(true, Ordering::Relaxed);
        (done, looking.join().unwrap())
    })
}

/// Tells that a run there works, and that it was this user's.
#[track_caller]
fn assert_runs(yard: &Yard) {
    let source = yard.script("import getpass\nprint(getpass.getuser())");
    let source = source.to_str().unwrap();
    let told = yard.ok(["run", "--target", "test-vm", "--source", source, "train.py"]);
    assert_eq!(told, "azureuser\n");
}

/// What of the secrets of this yard is where it does not belong.
fn leaked(yard: &Yard, secret: &str) -> Vec<String> {
    files_with(&yard.home(), secret, "credentials")
}

#[test]
fn a_password_goes_to_the_file_of_credentials_and_nowhere_else() {
    // One that is no part of any path or program.
    const OURS: &str = "k9$'\"`; x\\ Zürich-7130";
    let Some(vm) = Vm::start(VmOptions::default()) else { return };
    let yard = Yard::new();
    vm.exec(&format!("printf 'azureuser:%s\\n' '{}' | chpasswd", OURS.replace('\'', "'\\''")));

    let wrong = with_secret(attach(&yard, &vm, "test-vm").arg("--password-stdin"), PASSWORD);
    assert_eq!(wrong.status.code(), Some(1), "{}", text(&wrong.stderr));
    assert!(!text(&wrong.stderr).contains(PASSWORD));
    assert!(yard.json(["target", "list", "--json"]).as_array().unwrap().len() == 1);
    assert_eq!(files_with(&yard.home(), PASSWORD, "none"), [""; 0], "nothing is kept of it");

    let ((), seen) = command_lines_with(OURS, || {
        let mut attach = attach(&yard, &vm, "test-vm");
        let output = with_secret(attach.args(["--password-stdin", "--json"]), OURS);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(!(text(&output.stdout) + &text(&output.stderr)).contains(OURS));
        assert_runs(&yard);
    });

    assert_eq!(seen, [""; 0]);
    assert_eq!(leaked(&yard, "Zürich-7130"), [""; 0]);
    let kept = files_with(&yard.home().join("credentials"), "Zürich-7130", "");
    assert_eq!(kept.len(), 1);
    let mode = fs::metadata(&kept[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for shown in [&["target", "show", "test-vm"][..], &["target", "list", "--json"]] {
        assert!(!yard.ok(shown).contains("Zürich-7130"));
    }
    // It is still known after the agent was gone.
    yard.kill_agent();
    assert_runs(&yard);
    let there = vm.exec("grep -rl 'rich-7130' /home/azureuser /tmp /dev/shm || true");
    assert_eq!(there, "");
}

#[test]
fn keys_of_every_kind_log_in() {
    let Some(vm) = Vm::start(VmOptions::default()) else { return };
    let yard = Yard::new();
    for pair in KeyPair::ALL {
        let mut attach = attach(&yard, &vm, "test-vm");
        attach.arg("--private-key-file").arg(pair.path());
        let output = match pair.passphrase() {
            Some(passphrase) => with_secret(attach.arg("--passphrase-stdin"), passphrase),
            None => attach.output().unwrap(),
        };
        assert!(output.status.success(), "{pair:?}: {}", text(&output.stderr));
        assert_runs(&yard);
    }
    // Each by an agent of its own: the machine is there for both.
    a_passphrase_goes_to_the_file_of_credentials_and_nowhere_else(&vm);
    keys_of_an_ssh_agent_log_in(&vm);
}

fn a_passphrase_goes_to_the_file_of_credentials_and_nowhere_else(vm: &Vm) {
    const OURS: &str = "pass phrase $(7130) 'quoted'";
    let yard = Yard::new();
    let key = yard.project("keys", &[]).join("key");
    fs::copy(KeyPair::Ed25519Encrypted.path(), &key).unwrap();
    let mut change = Command::new("ssh-keygen");
    change.args(["-q", "-p", "-P", PASSPHRASE, "-N", OURS, "-f"]).arg(&key);
    assert!(change.status().unwrap().success());
    let login = |passphrase: &str| {
        let mut attach = attach(&yard, vm, "test-vm");
        attach.arg("--passphrase-stdin").arg("--private-key-file").arg(&key);
        with_secret(&mut attach, passphrase)
    };

    let wrong = login("another");
    assert_ne!(wrong.status.code(), Some(0));
    assert!(text(&wrong.stderr).contains("passphrase"), "{}", text(&wrong.stderr));
    let (output, seen) = command_lines_with(OURS, || login(OURS));

    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_runs(&yard);
    assert_eq!(seen, [""; 0]);
    assert_eq!(leaked(&yard, OURS), [""; 0]);
    assert_eq!(files_with(&yard.home().join("credentials"), OURS, "").len(), 1);
}

fn keys_of_an_ssh_agent_log_in(vm: &Vm) {
    let yard = Yard::new();
    let socket = yard.project("keys", &[]).join("agent.sock");
    let mut command = Command::new("ssh-agent");
    let command = command.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null());
    let _agent = Ended(command.spawn().unwrap());
    wait_until("the SSH agent listens", || socket.exists());
    let mut add = Command::new("ssh-add");
    add.arg("-q").arg(KeyPair::Ed25519.path()).env("SSH_AUTH_SOCK", &socket);
    assert!(add.status().unwrap().success());

    let mut attach = attach(&yard, vm, "test-vm");
    let output = attach.arg("--ssh-agent").env("SSH_AUTH_SOCK", &socket).output().unwrap();

    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_runs(&yard);
    assert_eq!(files_with(&yard.home(), "PRIVATE KEY", "none"), [""; 0], "no key is kept");
}

/// A process of this test's, ended with it.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
