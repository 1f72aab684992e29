//! `known_hosts` files.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh2::{CheckResult, KnownHostFileKind, Session};

use super::{HostKey, SshError};

/// What a `known_hosts` file says of a host. Names may be hashed, or in the form `[name]:port`;
/// patterns (`*.example.com`) and certificate authorities are passed over.
#[derive(Debug, Default)]
pub(super) struct KnownKeys {
    /// Its keys.
    pub(super) accepted: Vec<HostKey>,
    /// Keys that nobody is to have any more.
    pub(super) revoked: Vec<HostKey>,
}

impl KnownKeys {
    /// Reads the file at `path`; one that does not exist knows nobody.
    pub(super) fn of(
        session: &Session,
        path: &Path,
        host: &str,
        port: u16,
    ) -> Result<Self, SshError> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(SshError::config(path, error)),
        };
        let mut keys = Self::default();
        for line in String::from_utf8_lossy(&text).lines().map(str::trim) {
            let (marker, line) = match line.strip_prefix('@') {
                Some(marked) => marked.split_once(char::is_whitespace).unwrap_or_default(),
                None => ("", line),
            };
            let list = match marker {
                "" => &mut keys.accepted,
                "revoked" => &mut keys.revoked,
                _ => continue,
            };
            list.extend(key_of(session, line.trim(), host, port));
        }
        Ok(keys)
    }
}

/// Returns the key of a line if it is of `host`. Lines are read one by one: libssh2 does not say
/// which of them a key was found in, and refuses a whole file for one that it cannot read.
fn key_of(session: &Session, line: &str, host: &str, port: u16) -> Option<HostKey> {
    let blob = STANDARD.decode(line.split_whitespace().nth(2)?).ok()?;
    let mut known = session.known_hosts().ok()?;
    known.read_str(line, KnownHostFileKind::OpenSSH).ok()?;
    match known.check_port(host, port, &blob) {
        CheckResult::Match => HostKey::of_blob(&blob),
        _ => None,
    }
}
