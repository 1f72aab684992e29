//! Private keys as files have them: what kind they are, and whether they need a passphrase.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// What a file that should hold a private key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A private key.
    Plain,
    /// One that takes a passphrase.
    Encrypted,
    /// The public half of one.
    Public,
    /// One of PuTTY's.
    Putty,
    /// None that is known.
    Other,
}

const OPENSSH: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const OPENSSH_END: &str = "-----END OPENSSH PRIVATE KEY-----";

/// Tells what `text` is.
pub(super) fn kind(text: &str) -> Kind {
    let text = text.trim_start();
    if let Some(rest) = text.strip_prefix(OPENSSH) {
        let body: String =
            rest.split(OPENSSH_END).next().unwrap_or_default().split_ascii_whitespace().collect();
        return match cipher(&body) {
            Some(cipher) if cipher == b"none" => Kind::Plain,
            Some(_) => Kind::Encrypted,
            None => Kind::Other,
        };
    }
    if text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return Kind::Encrypted;
    }
    if text.starts_with("-----BEGIN ") && text.contains(" PRIVATE KEY-----") {
        let encrypted = text.lines().any(|line| line.trim() == "Proc-Type: 4,ENCRYPTED");
        return if encrypted { Kind::Encrypted } else { Kind::Plain };
    }
    if text.starts_with("-----BEGIN PRIVATE KEY-----") {
        return Kind::Plain;
    }
    if text.starts_with("PuTTY-User-Key-File") {
        return Kind::Putty;
    }
    let public = ["ssh-", "ecdsa-sha2-", "sk-", "-----BEGIN PUBLIC", "---- BEGIN SSH2 PUBLIC"];
    if public.iter().any(|start| text.starts_with(start)) { Kind::Public } else { Kind::Other }
}

/// Returns the name of the cipher of a key in OpenSSH's format: `openssh-key-v1`, a zero byte, and
/// then the cipher's name with its length in four bytes before it (OpenSSH's PROTOCOL.key).
fn cipher(body: &str) -> Option<Vec<u8>> {
    // The first bytes are enough; the whole need not be right for that.
    let start = body.get(..64).unwrap_or(body);
    let start = start.get(..start.len() / 4 * 4)?;
    let bytes = BASE64_STANDARD.decode(start).ok()?;
    let rest = bytes.strip_prefix(b"openssh-key-v1\0")?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    rest.get(..length).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn keys_of_ssh_keygen_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        for (format, passphrase, expected) in [
            ("RFC4716", "", Kind::Plain),
            ("RFC4716", "secret words", Kind::Encrypted),
            ("PEM", "", Kind::Plain),
            ("PEM", "secret words", Kind::Encrypted),
            ("PKCS8", "", Kind::Plain),
            ("PKCS8", "secret words", Kind::Encrypted),
        ] {
            let file = dir.path().join(format!("{format}{}", passphrase.len()));
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ecdsa", "-m", format, "-N", passphrase, "-f"])
                .arg(&file)
                .status()
                .unwrap();
            assert!(made.success());
            let text = std::fs::read_to_string(&file).unwrap();
            assert_eq!(kind(&text), expected, "{format} {passphrase:?}");
            let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
            assert_eq!(kind(&public), Kind::Public);
        }
    }

    #[test]
    fn what_is_no_key_is_told() {
        assert_eq!(kind("PuTTY-User-Key-File-3: ssh-ed25519\n"), Kind::Putty);
        assert_eq!(kind(""), Kind::Other);
        assert_eq!(kind("hello"), Kind::Other);
        assert_eq!(kind(&format!("{OPENSSH}\nnonsense\n{OPENSSH_END}")), Kind::Other);
        assert_eq!(kind("-----BEGIN CERTIFICATE-----\n"), Kind::Other);
    }
}
