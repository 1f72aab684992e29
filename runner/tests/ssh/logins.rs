//! Who is let in, and who is not.

use runner::ssh::{Credential, SshConnection};

use crate::support::{PATIENCE, connect, endpoint, key, password, start, told, who_am_i};
use crate::vm::{KeyPair, PASSWORD, USER};

#[test]
fn the_password_and_keys_of_every_kind_are_let_in() {
    let Some(vm) = start() else { return };

    assert_eq!(who_am_i(&endpoint(&vm, password(PASSWORD))).unwrap(), USER);
    for pair in KeyPair::ALL {
        assert_eq!(
            who_am_i(&endpoint(&vm, key(pair, pair.passphrase()))).unwrap(),
            USER,
            "{pair:?}"
        );
    }
    let mut several = endpoint(&vm, password("wrong"));
    several.credentials.push(key(KeyPair::Ed25519Encrypted, Some("wrong")));
    several.credentials.push(key(KeyPair::Rsa, None));
    assert_eq!(who_am_i(&several).unwrap(), USER);
    drop(connect(&vm));
}

#[test]
fn a_wrong_password_or_key_is_refused_in_words() {
    let Some(vm) = start() else { return };
    let refusal = |credential| {
        let error = SshConnection::connect(&endpoint(&vm, credential), PATIENCE).err().unwrap();
        told(&vm, &error)
    };
    let text =
        |text: &str| Credential::Key { private_key: text.to_owned().into(), passphrase: None };
    let public = std::fs::read_to_string(KeyPair::Rsa.path().with_extension("pub")).unwrap();

    let refusals = [
        refusal(password("wrong")),
        refusal(key(KeyPair::Ed25519Encrypted, None)),
        refusal(key(KeyPair::Ed25519Encrypted, Some("wrong"))),
        refusal(key(KeyPair::RsaPemEncrypted, None)),
        refusal(key(KeyPair::RsaPemEncrypted, Some("wrong"))),
        refusal(text(&public)),
        refusal(text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")),
    ];
    insta::assert_snapshot!(refusals.join("\n\n"), @r"
    VM does not let azureuser in: it does not take the password
    hint: check the user name, and that this password or key is the user's there

    cannot use the private key: it is encrypted, and no passphrase is given
    hint: give the right private key file, and its passphrase

    cannot use the private key: the passphrase is wrong
    hint: give the right private key file, and its passphrase

    cannot use the private key: it is encrypted, and no passphrase is given
    hint: give the right private key file, and its passphrase

    cannot use the private key: the passphrase is wrong
    hint: give the right private key file, and its passphrase

    cannot use the private key: it is no private key in OpenSSH's or PEM's format
    hint: give the right private key file, and its passphrase

    cannot use the private key: it is damaged, or of an unknown kind: Unable to extract public key from private key: Unsupported private key format
    hint: give the right private key file, and its passphrase
    ");
}
