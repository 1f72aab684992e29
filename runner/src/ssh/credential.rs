//! What proves who logs in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;

/// What proves who logs in. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A password.
    Password(SecretString),
    /// A private key: its text, as in the file, and the passphrase if it is encrypted.
    Key {
        /// OpenSSH's or PEM's format.
        private_key: SecretString,
        /// What decrypts it.
        passphrase: Option<SecretString>,
    },
    /// The keys of the agent that `SSH_AUTH_SOCK` names.
    Agent,
}

/// Says whether the text of a private key is encrypted; `None` if it is no private key.
#[must_use]
pub fn is_encrypted(private_key: &str) -> Option<bool> {
    let begin = private_key.lines().map(str::trim).find(|line| line.starts_with("-----BEGIN "))?;
    if !begin.ends_with("PRIVATE KEY-----") {
        return None;
    }
    if begin != "-----BEGIN OPENSSH PRIVATE KEY-----" {
        return Some(begin.contains("ENCRYPTED") || private_key.contains("Proc-Type: 4,ENCRYPTED"));
    }
    let lines = private_key.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    let blob = STANDARD.decode(lines.collect::<String>()).ok()?;
    // A magic text, then the name of the cipher: OpenSSH's PROTOCOL.key.
    let (length, rest) = blob.strip_prefix(b"openssh-key-v1\0")?.split_first_chunk::<4>()?;
    let cipher = rest.get(..u32::from_be_bytes(*length).try_into().ok()?)?;
    Some(cipher != b"none")
}
