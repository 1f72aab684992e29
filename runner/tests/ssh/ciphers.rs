//! Servers that insist on one cipher or one code.

use runner::ssh::{CommandEnd, Endpoint, SshConnection};

use crate::support::{PATIENCE, endpoint, password, start, told};
use crate::vm::{PASSWORD, Vm};

/// Starts another server in `vm` that has these settings only, and says where it is.
fn server(vm: &Vm, port: u16, ciphers: &str, codes: &str) -> Endpoint {
    // It goes to the background first, listens, and then says who it is.
    vm.exec(&format!(
        "/usr/sbin/sshd -p {port} -o PidFile=/run/sshd-{port}.pid -o PasswordAuthentication=yes \
         -o Ciphers={ciphers} -o MACs={codes}; \
         until [ -e /run/sshd-{port}.pid ]; do sleep 0.02; done"
    ));
    Endpoint { port, ..endpoint(vm, password(PASSWORD)) }
}

#[test]
fn what_a_server_insists_on_is_used_both_ways() {
    let Some(vm) = start() else { return };
    let sent: Vec<u8> = (0..200_000_u32).flat_map(|number| number.to_le_bytes()).collect();

    for (port, ciphers, codes) in [
        (2201, "aes128-ctr", "hmac-sha2-256-etm@openssh.com"),
        (2202, "aes256-ctr", "hmac-sha2-512-etm@openssh.com"),
        (2203, "aes128-ctr", "hmac-sha2-256"),
        (2204, "aes256-ctr", "hmac-sha2-512"),
        (2205, "chacha20-poly1305@openssh.com", "hmac-sha2-256"),
        (2206, "aes128-gcm@openssh.com", "hmac-sha2-256"),
        (2207, "aes256-gcm@openssh.com", "hmac-sha2-256"),
    ] {
        let mut connection =
            SshConnection::connect(&server(&vm, port, ciphers, codes), PATIENCE).unwrap();

        let output = connection.run("cat", &mut sent.as_slice()).unwrap();

        assert_eq!(output.end, CommandEnd::Code(0), "{ciphers} {codes}");
        assert!(output.stdout == sent, "{ciphers} {codes}: other bytes came back");
    }
}

#[test]
fn a_server_that_has_only_what_is_weak_is_not_spoken_to() {
    let Some(vm) = start() else { return };

    for (port, ciphers, codes) in
        [(2201, "aes128-cbc", "hmac-sha2-256"), (2202, "aes128-ctr", "hmac-sha1")]
    {
        let refused = SshConnection::connect(&server(&vm, port, ciphers, codes), PATIENCE);

        let told = told(&vm, &refused.err().unwrap());
        assert!(told.contains("no algorithm that both know"), "{told}");
    }
}
