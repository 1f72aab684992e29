//! What `~/.ssh/config`, `known_hosts` and systemd know of machines over SSH.

use std::fs;
use std::process::Output;

use tests::attached::{NAME, attach};
use tests::vm::{KeyPair, PASSWORD, USER, Vm, VmOptions};
use tests::{Yard, text};

/// The port of the machine that is behind another.
const PORT: u16 = 2222;

/// Writes a file of `~/.ssh`.
fn write(yard: &Yard, name: &str, text: &str) {
    let directory = yard.user_home().join(".ssh");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(name), text).unwrap();
}

/// Writes `known_hosts`: each place with the keys of a machine.
fn know(yard: &Yard, known: &[(&str, &Vm)]) {
    let lines = known.iter().flat_map(|(place, vm)| {
        let keys = vm.host_keys();
        let keys = keys.lines().map(|key| format!("{place} {key}\n"));
        keys.collect::<Vec<_>>()
    });
    write(yard, "known_hosts", &lines.collect::<String>());
}

/// Attaches the machine of an alias and nothing else that is typed.
fn attach_alias(yard: &Yard, more: &[&str]) -> (Option<i32>, String) {
    let attach = ["target", "attach", "remote", "-n", NAME, "-a", "inner"];
    said(&yard.call(attach.iter().chain(more)))
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[track_caller]
fn assert_nothing_is_attached(yard: &Yard) {
    assert_eq!(yard.ok(["-q", "target", "list"]), "local\n");
    assert!(!yard.home().join("credentials").exists());
    assert!(!yard.home().join("targets").exists());
}

#[test]
fn an_alias_behind_another_machine_is_attached_by_its_name_alone() {
    let options = VmOptions::default();
    let (Some(gate), Some(inner)) = (Vm::start(options.clone()), Vm::start(options)) else {
        return;
    };
    let yard = Yard::new();
    let log = "/tmp/another-sshd.log";
    inner.exec(&format!("/usr/sbin/sshd -p {PORT} -E {log} -o PidFile=/run/another-sshd.pid"));
    fs::create_dir(yard.user_home().join(".ssh")).unwrap();
    fs::copy(KeyPair::Ed25519.path(), yard.user_home().join(".ssh/vm key")).unwrap();
    let (at_gate, at_inner) = (gate.address(), inner.address());
    let config = format!(
        "Host gate\n  HostName {at_gate}\n\
         Host inner\n  HostName {at_inner}\n  Port {PORT}\n  ProxyJump gate\n\
         Host *\n  User {USER}\n  IdentityFile \"~/.ssh/vm key\"\n"
    );
    write(&yard, "config", &config);

    // Both of them have to be known where that is asked for, the nearest first.
    let place = format!("[{at_inner}]:{PORT}");
    for (known, unknown) in [(&[][..], &at_gate), (&[(at_gate.as_str(), &gate)][..], &at_inner)] {
        know(&yard, known);
        let (code, said) = attach_alias(&yard, &["--strict"]);
        assert_eq!(code, Some(1), "{said}");
        let known_hosts = yard.user_home().join(".ssh/known_hosts");
        let complaint = format!("{unknown} is not in {}", known_hosts.display());
        assert!(said.contains(&complaint) && said.contains("SHA256:"), "{said}");
        assert_nothing_is_attached(&yard);
    }
    know(&yard, &[(&at_gate, &gate), (&place, &gate)]);
    let (code, said) = attach_alias(&yard, &["--strict"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("known_hosts has another host key of {at_inner}: ")), "{said}");
    assert!(said.contains(&format!("`ssh-keygen -R '{place}' -f ")), "{said}");
    assert_nothing_is_attached(&yard);

    know(&yard, &[(&at_gate, &gate), (&place, &inner)]);
    let (code, said) = attach_alias(&yard, &["--strict"]);

    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("of {USER}@{at_inner}:{PORT}\n")), "{said}");
    assert!(said.contains(&format!("of {USER}@{at_gate}\n")), "the way is shown too: {said}");
    let shown = yard.ok(["target", "show", NAME]);
    assert!(shown.contains(&format!("\nAddress    {USER}@{at_inner}:{PORT}\n")), "{shown}");
    assert!(shown.contains(&format!("\nThrough    {USER}@{at_gate}\n")), "{shown}");
    assert!(shown.contains("\nLogin      key\n"), "one key is tried once: {shown}");

    assert_runs_behind_the_gate(&yard);
    let from = inner.exec(&format!("grep -c 'Accepted publickey for {USER} from {at_gate}' {log}"));
    assert_ne!(from, "0", "it goes through the other");
}

/// Tells that a run there, its log and its outputs come back.
#[track_caller]
fn assert_runs_behind_the_gate(yard: &Yard) {
    let source = yard.script("print('behind')\nopen('outputs/result', 'w').write('brought')\n");
    let source = source.to_str().unwrap();
    let run = ["run", "--target", NAME, "--source", source, "train.py"];
    assert_eq!(yard.ok(run), "behind\n");
    assert_eq!(yard.ok(["logs", "@"]), "behind\n");
    let fetched = yard.home().with_file_name("fetched");
    yard.ok(["outputs", "@", fetched.to_str().unwrap()]);
    assert_eq!(fs::read(fetched.join("outputs/result")).unwrap(), b"brought");
    let (code, said) = said(&yard.call(["target", "check", NAME]));
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn an_agent_logs_in_by_what_systemd_hands_it() {
    let Some(vm) = Vm::start(VmOptions::default()) else { return };
    let yard = Yard::new();
    let handed = yard.project("handed", &[]);
    let credential = handed.join("trainyard.target.test-vm");
    let start_agent = || {
        let started = yard.trainyard().env("CREDENTIALS_DIRECTORY", &handed).arg("list").status();
        assert!(started.unwrap().success());
    };
    let attach_it =
        || said(&attach(&yard, &vm, NAME).arg("--credential-from-systemd").output().unwrap());
    start_agent();

    let (code, refused) = attach_it();
    assert_eq!(code, Some(2), "{refused}");
    assert!(refused.contains("no credential trainyard.target.test-vm"), "{refused}");
    assert!(refused.contains("LoadCredentialEncrypted=trainyard.target.test-vm:"), "{refused}");
    fs::write(&credential, "password:another\n").unwrap();
    let (code, refused) = attach_it();
    assert_eq!(code, Some(1), "{refused}");
    assert!(refused.contains("does not take the password"), "{refused}");
    assert_nothing_is_attached(&yard);

    fs::write(&credential, format!("password:{PASSWORD}\n")).unwrap();
    let (code, told) = attach_it();
    assert_eq!(code, Some(0), "{told}");
    assert!(yard.ok(["target", "show", NAME]).contains("password (from systemd)"));
    let source = yard.script("print('let in')");
    let source = source.to_str().unwrap();
    let run = ["run", "--target", NAME, "--source", source, "train.py"];
    assert_eq!(yard.ok(run), "let in\n");
    assert_eq!(tests::attached::files_with(&yard.home(), PASSWORD, ""), [""; 0]);

    // What is handed over at the next start counts from then on.
    fs::copy(KeyPair::Ed25519.path(), &credential).unwrap();
    yard.kill_agent();
    start_agent();
    assert!(yard.ok(["target", "show", NAME]).contains("key (from systemd)"));
    assert_eq!(yard.ok(run), "let in\n");
    assert_eq!(tests::attached::files_with(&yard.home(), "PRIVATE KEY", ""), [""; 0]);

    // An agent that is handed nothing says so.
    yard.kill_agent();
    let (code, refused) = said(&yard.call(["target", "check", NAME]));
    assert_eq!(code, Some(1), "{refused}");
    assert!(refused.contains("there is nothing to log in to "), "{refused}");
    assert!(refused.contains("LoadCredentialEncrypted="), "{refused}");
}
