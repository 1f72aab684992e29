//! Ways to log in to a [`Vm`].

use std::fs;
use std::time::Duration;

use runner::ssh::{
    CommandEnd, CommandOutput, Credential, Endpoint, HostKeyPolicy, Patience, SshConnection,
    SshError,
};

use crate::vm::{KeyPair, PASSWORD, USER, Vm, VmOptions};

/// Enough for a machine with much to do. The server is asked whether it is there so seldom that
/// its answer wakes nobody who waits for what is there already: that ends as an error.
pub(crate) const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(30),
    silence: Duration::from_secs(600),
    answer: Duration::from_secs(60),
};

/// Starts a machine as a rule.
pub(crate) fn start() -> Option<Vm> {
    Vm::start(VmOptions::default())
}

/// Where `vm` is, for whoever has `credential` and takes any host key.
pub(crate) fn endpoint(vm: &Vm, credential: Credential) -> Endpoint {
    Endpoint {
        host: vm.address(),
        port: 22,
        user: USER.to_owned(),
        host_key: HostKeyPolicy::Any,
        credentials: vec![credential],
        jumps: Vec::new(),
    }
}

pub(crate) fn password(text: &str) -> Credential {
    Credential::Password(text.to_owned().into())
}

pub(crate) fn key(pair: KeyPair, passphrase: Option<&str>) -> Credential {
    let private_key = fs::read_to_string(pair.path()).unwrap().into();
    Credential::Key { private_key, passphrase: passphrase.map(|text| text.to_owned().into()) }
}

/// Connects with the password.
pub(crate) fn connect(vm: &Vm) -> SshConnection {
    SshConnection::connect(&endpoint(vm, password(PASSWORD)), PATIENCE).unwrap()
}

/// Logs in and says who one is then.
pub(crate) fn who_am_i(endpoint: &Endpoint) -> Result<String, SshError> {
    let mut connection = SshConnection::connect(endpoint, PATIENCE)?;
    let CommandOutput { end, stdout, stderr } = connection.run("id -un", &mut &b""[..])?;
    assert_eq!((end, stderr), (CommandEnd::Code(0), Vec::new()));
    Ok(String::from_utf8(stdout).unwrap().trim().to_owned())
}

/// Returns an error with its causes, and the hint, in which `vm` has no address of its own.
pub(crate) fn told(vm: &Vm, error: &SshError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    format!("{text}{hint}").replace(&vm.address(), "VM")
}
