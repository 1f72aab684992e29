//! Machines that are not taken, and the one that is not the same any more.

use std::collections::BTreeSet;
use std::process::Command;

use tests::attached::{AttachedYard, NAME, attach, attach_by_key, with_secret};
use tests::vm::{KeyPair, Vm, VmOptions};
use tests::{Yard, text, wait_until};

/// Attaches `vm` with a key; returns the exit code and what was said.
fn attach_with(yard: &Yard, vm: &Vm, more: &[&str]) -> (Option<i32>, String) {
    let output = attach_by_key(yard, vm, NAME).args(more).output().unwrap();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// Returns the fingerprints of the host's keys, as OpenSSH says them.
fn fingerprints(yard: &Yard, vm: &Vm) -> BTreeSet<String> {
    let file = yard.project("host", &[("keys", &vm.host_keys())]).join("keys");
    let output = Command::new("ssh-keygen").arg("-lf").arg(file).output().unwrap();
    let told = text(&output.stdout);
    told.lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn debian_is_refused_by_name_and_version_unless_it_is_wanted() {
    let Some(vm) = Vm::start(VmOptions { true_system: true, ..VmOptions::default() }) else {
        return;
    };
    let yard = Yard::new();
    let version = vm.exec(". /etc/os-release; echo $ID $VERSION_ID");

    let (code, said) = attach_with(&yard, &vm, &[]);

    assert_eq!(code, Some(1), "{said}");
    let words = said.to_lowercase();
    for word in version.split(' ').chain(["ubuntu", "--allow-unsupported"]) {
        assert!(words.contains(word), "{word}: {said}");
    }
    assert_eq!(yard.ok(["-q", "target", "list"]), "local\n");
    assert_eq!(vm.exec_as_user("ls -d .trainyard").status.code(), Some(2), "nothing was sent");

    let (code, said) = attach_with(&yard, &vm, &["--allow-unsupported"]);

    assert_eq!(code, Some(0), "{said}");
    let source = yard.script("print('on Debian')");
    let source = source.to_str().unwrap();
    let told = yard.ok(["run", "--target", NAME, "--source", source, "train.py"]);
    assert_eq!(told, "on Debian\n");
}

#[test]
fn a_machine_has_one_name_and_with_another_host_key_is_told_nothing() {
    let Some(yard) = AttachedYard::new(VmOptions::default()) else { return };
    assert_has_one_name(&yard);
    let pinned = yard.json(["target", "show", NAME, "--json"]);
    let old = fingerprints(&yard, &yard.vm);
    let sessions = |yard: &AttachedYard| yard.vm.sshd_log().matches("Accepted publickey").count();
    yard.vm.change_host_keys();
    let new = fingerprints(&yard, &yard.vm);
    let (before, log) = (sessions(&yard), yard.vm.sshd_log().len());

    let output = yard.call(["target", "check", NAME]);

    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(old.iter().any(|key| said.contains(key.as_str())), "{old:?}: {said}");
    let (_, rest) = said.split_once("`trainyard ").expect("a command is named");
    let command: Vec<_> = rest.split_once('`').unwrap().0.split(' ').collect();
    assert!(new.contains(*command.last().unwrap()), "{new:?}: {said}");
    // A run waits for it and says why.
    let waiting = yard.submit_there(&yard.script("print('known again')"), &[]);
    let mut told = String::new();
    wait_until("the run says that it waits", || {
        told = yard.ok(["show", &waiting]);
        told.contains("out of contact since")
    });
    assert!(told.contains("has changed") && told.contains(&command.join(" ")), "{told}");
    // Attaching again is no way around it.
    let (code, again) = attach_with(&yard, &yard.vm, &[]);
    assert_eq!(code, Some(1), "{again}");
    let after = &yard.vm.sshd_log()[log..];
    assert_eq!(sessions(&yard), before);
    assert!(!after.contains("userauth"), "nobody logs in: {after}");

    let wrong = yard.call(["target", "check", NAME, "--accept-host-key", "SHA256:other"]);
    assert_eq!(wrong.status.code(), Some(1), "{}", text(&wrong.stderr));

    yard.ok(&command);

    let shown = yard.json(["target", "show", NAME, "--json"]);
    assert_ne!(shown, pinned);
    assert!(shown.to_string().contains(command.last().unwrap()), "{shown:#}");
    assert_eq!(yard.ended(&waiting)["status"], "Completed");
    assert_eq!(yard.ok(["logs", &waiting]), "known again\n");
}

/// Tells that it is not attached again under another name.
#[track_caller]
fn assert_has_one_name(yard: &AttachedYard) {
    let mut command = attach(yard, &yard.vm, "other-vm");
    let output = command.arg("--private-key-file").arg(KeyPair::Rsa.path()).output().unwrap();

    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("is attached already, as \"test-vm\""), "{said}");

    // Nor by another way to it.
    let mut command = yard.trainyard();
    let port = yard.vm.published_port().to_string();
    command.args(["target", "attach", "remote", "-n", "other-vm", "-a", "127.0.0.1"]);
    command.args(["-u", "azureuser", "--ssh-port", &port, "--private-key-file"]);
    let output = command.arg(KeyPair::Rsa.path()).output().unwrap();

    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("is attached already, as \"test-vm\""), "{said}");
    assert_eq!(yard.ok(["-q", "target", "list"]), "local\ntest-vm\n");
}

#[test]
fn what_does_not_let_us_in_is_told_in_one_message_and_leaves_nothing() {
    let Some(vm) = Vm::start(VmOptions::default()) else { return };
    let yard = Yard::new();
    yard.ok(["target", "list"]);
    let key = |pair: KeyPair| pair.path().display().to_string();
    let (good, encrypted) = (key(KeyPair::Ed25519), key(KeyPair::RsaPemEncrypted));
    // Longer than a part of a name may be: nobody is asked for it.
    let (address, no_name) = (vm.address(), "x".repeat(64));
    let told = |place: &str, user: &str, more: &[&str]| {
        let mut command = yard.trainyard();
        command.args(["target", "attach", "remote", "-n", NAME, "-a", place, "-u", user]);
        let output = with_secret(command.args(more), "wrong");
        assert_eq!(text(&output.stdout), "");
        let said = format!("{} {}", output.status.code().unwrap(), text(&output.stderr));
        said.replace(&address, "VM").replace(&no_name, "NO-NAME")
    };

    let all = [
        told(&address, "azureuser", &["--password-stdin"]),
        told(&address, "azureuser", &["--passphrase-stdin", "--private-key-file", &encrypted]),
        told(&address, "somebody", &["--private-key-file", &good]),
        told(&address, "azureuser", &["--ssh-port", "23", "--private-key-file", &good]),
        told(&no_name, "azureuser", &["--private-key-file", &good]),
        told("azureuser@VM:0", "azureuser", &["--private-key-file", &good]),
        told("me@VM", "azureuser", &["--private-key-file", &good]),
        told(&address, "-oProxyCommand", &["--private-key-file", &good]),
        told(&address, "azureuser", &["--password-stdin", "--private-key-file", &good]),
    ];

    insta::assert_snapshot!(all.join("\n"), @r#"
    1 error: VM does not let azureuser in: it does not take the password
    help: check the user name, and that this password or key is the user's there

    1 error: cannot use the private key: the passphrase is wrong
    help: give the right private key file, and its passphrase

    1 error: VM does not let somebody in: it does not take the key
    help: check the user name, and that this password or key is the user's there

    1 error: cannot reach VM port 23: Connection refused
    help: check that the machine is on, its address, and that port 23 is open

    1 error: cannot reach NO-NAME port 22: failed to lookup address information: Name or service not known
    help: check that the machine is on, its address, and that port 22 is open

    2 error: "azureuser@VM:0" is no address of a machine
    help: give a host, an alias of ~/.ssh/config, or ssh://user@host:port

    2 error: me@VM and -u say different things
    help: leave one of them out

    2 error: unexpected argument '-o' found

    Usage: trainyard target attach remote [OPTIONS] --name <NAME> --address <HOST>

    For more information, try '--help'.

    2 error: the argument '--password-stdin' cannot be used with '--private-key-file <FILE>'

    Usage: trainyard target attach remote --name <NAME> --address <HOST> --username <USER> --password-stdin

    For more information, try '--help'.
    "#);
    assert_eq!(yard.ok(["-q", "target", "list"]), "local\n");
    assert!(!yard.home().join("credentials").exists());
    assert!(!yard.home().join("targets").exists());
}
