//! Keys of an ssh-agent.

use std::process::{Command, Stdio};

use runner::ssh::{Credential, SshConnection};

use crate::support::{PATIENCE, endpoint, start, told, who_am_i};
use crate::vm::{KeyPair, USER, Vm};

/// What a test finds in its environment when it is started as the one that logs in.
const ADDRESS: &str = "TRAINYARD_TEST_SSH_ADDRESS";

/// Logs in by the agent of `SSH_AUTH_SOCK`, where another test of this file started it for that.
#[test]
fn logs_in_where_it_is_told_to() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let endpoint = runner::ssh::Endpoint {
        host: address.clone(),
        port: 22,
        user: USER.to_owned(),
        host_key: runner::ssh::HostKeyPolicy::Any,
        credentials: vec![Credential::Agent],
        jumps: Vec::new(),
    };
    match who_am_i(&endpoint) {
        Ok(user) => println!("I am {user}."),
        Err(error) => println!("{}", error.to_string().replace(&address, "VM")),
    }
}

/// Carries out `line` of shell within a real agent, then logs in to `vm` by it.
fn within_agent(vm: &Vm, line: &str) -> String {
    let shell =
        format!("{line}\nexec \"$0\" agent::logs_in_where_it_is_told_to --exact --nocapture");
    let output = Command::new("ssh-agent")
        .args(["sh", "-c", &shell])
        .arg(std::env::current_exe().unwrap())
        .env(ADDRESS, vm.address())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = text.lines().find(|line| line.contains("VM") || line.contains("I am"));
    said.unwrap_or_else(|| panic!("{output:?}")).to_owned()
}

#[test]
fn keys_of_an_agent_are_let_in_and_others_not() {
    let Some(vm) = start() else { return };
    let stranger = tempfile::tempdir().unwrap();
    let stranger = stranger.path().join("key").display().to_string();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", &stranger])
        .status();
    assert!(made.unwrap().success());
    let (rsa, ecdsa) = (KeyPair::Rsa.path(), KeyPair::Ecdsa.path());

    assert_eq!(within_agent(&vm, &format!("ssh-add -q {}", rsa.display())), "I am azureuser.");
    let second = format!("ssh-add -q {stranger} {}", ecdsa.display());
    assert_eq!(within_agent(&vm, &second), "I am azureuser.");
    insta::assert_snapshot!(
        within_agent(&vm, &format!("ssh-add -q {stranger}")),
        @"VM does not let azureuser in: it does not take the agent's key"
    );
    insta::assert_snapshot!(
        within_agent(&vm, "true"),
        @"VM does not let azureuser in: the agent has no keys"
    );
}

#[test]
fn an_agent_that_is_not_there_is_said() {
    let Some(vm) = start() else { return };
    // Tests run without the user's agent, as a rule; there may be one.
    if std::env::var_os("SSH_AUTH_SOCK").is_some() {
        return;
    }

    let error = SshConnection::connect(&endpoint(&vm, Credential::Agent), PATIENCE).err().unwrap();

    insta::assert_snapshot!(told(&vm, &error), @r"
    VM does not let azureuser in: no agent answers at SSH_AUTH_SOCK (no auth sock variable)
    hint: check the user name, and that this password or key is the user's there
    ");
}
