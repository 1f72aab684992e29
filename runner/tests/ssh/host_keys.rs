//! Whose host key is accepted, and that nobody else hears anything of us.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runner::ssh::{Endpoint, HostKey, HostKeyPolicy, SshConnection, SshError};
use tempfile::TempDir;

use crate::support::{PATIENCE, endpoint, password, start, told, who_am_i};
use crate::vm::{PASSWORD, USER, Vm};

/// Returns the host's keys as it has them itself.
fn host_keys(vm: &Vm) -> Vec<HostKey> {
    let keys = vm.host_keys();
    let keys = keys.lines().map(|line| line.split(' ').map(str::to_owned));
    keys.map(|mut words| HostKey { algorithm: words.next().unwrap(), key: words.next().unwrap() })
        .collect()
}

/// A key that nobody has.
fn stranger() -> HostKey {
    let blob = [&[0, 0, 0, 11], &b"ssh-ed25519"[..], &[0, 0, 0, 32], &[7; 32]].concat();
    HostKey { algorithm: "ssh-ed25519".to_owned(), key: STANDARD.encode(blob) }
}

fn with(vm: &Vm, host_key: HostKeyPolicy) -> Endpoint {
    Endpoint { host_key, ..endpoint(vm, password(PASSWORD)) }
}

fn refusal(endpoint: &Endpoint) -> SshError {
    SshConnection::connect(endpoint, PATIENCE).err().unwrap()
}

/// Says how often somebody has begun to log in.
fn logins(vm: &Vm) -> usize {
    vm.sshd_log().matches("userauth-request").count()
}

#[test]
fn any_of_several_host_keys_can_be_pinned() {
    let Some(vm) = start() else { return };
    let keys = host_keys(&vm);
    assert_eq!(keys.len(), 3);

    for key in keys {
        let endpoint = with(&vm, HostKeyPolicy::Pinned(key.clone()));
        assert_eq!(SshConnection::host_key_of(&endpoint, PATIENCE).unwrap(), key);
        assert_eq!(who_am_i(&endpoint).unwrap(), USER);
        let connection = SshConnection::connect(&endpoint, PATIENCE).unwrap();
        assert_eq!(connection.host_key(), &key);
    }
}

#[test]
fn fingerprints_are_as_ssh_keygen_writes_them() {
    let Some(vm) = start() else { return };
    let theirs = vm.exec("for f in /etc/ssh/ssh_host_*.pub; do ssh-keygen -l -f $f; done");

    let ours: Vec<_> = host_keys(&vm).iter().map(HostKey::fingerprint).collect();

    assert_eq!(ours.len(), theirs.lines().count());
    for (line, fingerprint) in theirs.lines().zip(ours) {
        assert_eq!(line.split(' ').nth(1).unwrap(), fingerprint);
    }
}

#[test]
fn a_changed_host_key_is_refused_before_anything_is_sent() {
    let Some(vm) = start() else { return };
    let pinned = SshConnection::host_key_of(&with(&vm, HostKeyPolicy::Any), PATIENCE).unwrap();
    let endpoint = with(&vm, HostKeyPolicy::Pinned(pinned.clone()));
    who_am_i(&endpoint).unwrap();
    vm.change_host_keys();
    let before = logins(&vm);

    let error = refusal(&endpoint);

    assert_eq!((before > 0, logins(&vm)), (true, before));
    let now = host_keys(&vm).into_iter().find(|key| key.algorithm == pinned.algorithm).unwrap();
    let text =
        told(&vm, &error).replace(&pinned.fingerprint(), "OLD").replace(&now.fingerprint(), "NEW");
    insta::assert_snapshot!(text, @r"
    the host key of VM has changed: it was OLD, it is now NEW
    hint: if the machine was set up anew, accept its new key; if not, somebody may be in between: ask who runs it
    ");
    assert!(!error.is_passing());
}

/// A `known_hosts` file of `lines`, and the endpoint that goes by it.
fn known(vm: &Vm, lines: &[String]) -> (TempDir, Endpoint) {
    let directory = tempfile::tempdir().unwrap();
    let file: PathBuf = directory.path().join("known_hosts");
    fs::write(&file, lines.join("\n")).unwrap();
    (directory, with(vm, HostKeyPolicy::Known(file)))
}

#[test]
fn known_hosts_are_let_through_however_they_are_written() {
    let Some(vm) = start() else { return };
    let (address, keys) = (vm.address(), host_keys(&vm));
    let port = vm.published_port();
    let other = format!("elsewhere {}", stranger());
    let noise = "# a comment\n\nnonsense\n@cert-authority * ssh-rsa AAAA".to_owned();

    for key in &keys {
        let (_directory, endpoint) =
            known(&vm, &[noise.clone(), other.clone(), format!("gpu-vm,{address} {key} me@here")]);
        assert_eq!(who_am_i(&endpoint).unwrap(), USER);
    }
    let (directory, endpoint) = known(&vm, &[format!("{address} {}", keys[0])]);
    let file = directory.path().join("known_hosts");
    let hashed = Command::new("ssh-keygen").arg("-q").arg("-H").arg("-f").arg(&file).output();
    assert!(hashed.unwrap().status.success());
    assert!(!fs::read_to_string(&file).unwrap().contains(&address));
    assert_eq!(who_am_i(&endpoint).unwrap(), USER);
    let (_directory, mut endpoint) = known(&vm, &[format!("[127.0.0.1]:{port} {}", keys[1])]);
    (endpoint.host, endpoint.port) = ("127.0.0.1".to_owned(), port);
    assert_eq!(who_am_i(&endpoint).unwrap(), USER);
}

#[test]
fn hosts_that_are_not_known_are_refused_before_anything_is_sent() {
    let Some(vm) = start() else { return };
    let (address, keys) = (vm.address(), host_keys(&vm));
    let (_one, unknown) = known(&vm, &[format!("elsewhere {}", keys[0])]);
    assert!(matches!(refusal(&unknown), SshError::HostKeyUnknown { .. }));
    let (directory, mut missing) = known(&vm, &[]);
    missing.host_key = HostKeyPolicy::Known(directory.path().join("none"));
    assert!(matches!(refusal(&missing), SshError::HostKeyUnknown { .. }));
    let (_two, changed) = known(&vm, &[format!("{address} {}", stranger())]);
    match refusal(&changed) {
        SshError::HostKeyOther { expected, found, .. } => {
            assert_eq!(*expected, stranger());
            assert!(keys.contains(&found));
        }
        other => panic!("{other}"),
    }
    let all = keys.iter().map(|key| format!("{address} {key}"));
    let revoked = keys.iter().map(|key| format!("@revoked * {key}"));
    let named = keys.iter().map(|key| format!("@revoked {address} {key}"));
    let (_three, revoked) = known(&vm, &all.chain(revoked).chain(named).collect::<Vec<_>>());
    assert!(matches!(refusal(&revoked), SshError::HostKeyRevoked { .. }));
    let (directory, mut unreadable) = known(&vm, &[]);
    unreadable.host_key = HostKeyPolicy::Known(directory.path().to_owned());
    assert!(matches!(refusal(&unreadable), SshError::Config { .. }));
    assert_eq!(logins(&vm), 0);
}
