//! Going through other machines.

use std::io::{Read, Write};

use runner::ssh::{Endpoint, HostKeyPolicy, SshConnection, SshError};

use crate::support::{PATIENCE, endpoint, key, password, start, told, who_am_i};
use crate::vm::{KeyPair, PASSWORD, USER, Vm};

/// Where `vm` is for whoever knows its host key.
fn pinned(vm: &Vm) -> Endpoint {
    let mut endpoint = endpoint(vm, key(KeyPair::Ed25519, None));
    let host_key = SshConnection::host_key_of(&endpoint, PATIENCE).unwrap();
    endpoint.host_key = HostKeyPolicy::Pinned(host_key);
    endpoint
}

#[test]
fn two_machines_are_gone_through_and_carry_what_is_sent() {
    let (Some(first), Some(second), Some(third)) = (start(), start(), start()) else { return };
    let target = Endpoint { jumps: vec![pinned(&first), pinned(&second)], ..pinned(&third) };
    let sent = vec![7; 16 << 20];
    third.exec("touch /tmp/it-is-the-third");

    assert_eq!(who_am_i(&target).unwrap(), USER);
    let mut wire = SshConnection::connect(&target, PATIENCE)
        .unwrap()
        .open("ls /tmp/it-is-the-third && exec cat")
        .unwrap();
    let mut name = [0; 21];
    wire.read_exact(&mut name).unwrap();
    wire.write_all(&sent).unwrap();
    let mut received = vec![0; sent.len()];
    wire.read_exact(&mut received).unwrap();

    assert_eq!(&name, b"/tmp/it-is-the-third\n");
    assert!(received == sent);
    assert!(third.sshd_log().contains(&format!("Connection from {}", second.address())));
    assert!(second.sshd_log().contains(&format!("Connection from {}", first.address())));
}

#[test]
fn a_machine_on_the_way_is_checked_as_the_last_is() {
    let (Some(first), Some(second)) = (start(), start()) else { return };
    let mut target = Endpoint { jumps: vec![pinned(&first)], ..pinned(&second) };
    first.change_host_keys();

    let error = SshConnection::connect(&target, PATIENCE).err().unwrap();

    assert!(matches!(&error, SshError::HostKeyChanged { host, .. } if *host == first.address()));
    assert!(!first.sshd_log().contains("userauth-request"));

    target.jumps[0] = pinned(&first);
    target.jumps[0].credentials = vec![password("wrong")];
    let error = SshConnection::connect(&target, PATIENCE).err().unwrap();
    assert!(matches!(&error, SshError::Denied { host, .. } if *host == first.address()));

    target.jumps[0].credentials = vec![password(PASSWORD)];
    target.port = 2;
    let error = SshConnection::connect(&target, PATIENCE).err().unwrap();
    let told = told(&first, &error).replace(&second.address(), "SECOND");
    insta::assert_snapshot!(told, @r"
    cannot reach SECOND port 2: VM cannot connect to it: Channel open failure (connect failed)
    hint: check that the machine is on, its address, and that port 2 is open
    ");
}

#[test]
fn a_machine_on_the_way_that_goes_away_is_noticed() {
    let (Some(first), Some(second)) = (start(), start()) else { return };
    let target = Endpoint { jumps: vec![pinned(&first)], ..pinned(&second) };
    let mut wire = SshConnection::connect(&target, PATIENCE).unwrap().open("exec cat").unwrap();
    wire.write_all(b"x").unwrap();
    wire.read_exact(&mut [0]).unwrap();

    first.reset();

    let error = wire.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
}
