//! Certificates made on the spot by openssl: an authority, and what it signed.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::text;

/// Makes `ca.pem`, and `cert.pem` with `key.pem` of the address `host`, for client and server alike.
///
/// # Panics
///
/// When openssl is not there.
#[must_use]
pub fn make(host: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let new_key = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    let authority = ["-nodes", "-days", "2", "-subj", "/CN=authority"];
    let files = ["-keyout", "ca-key.pem", "-out", "ca.pem"];
    openssl(directory.path(), &[&new_key[..], &authority, &files].concat());
    let name = format!("subjectAltName=IP:{host}");
    let signed = ["-nodes", "-days", "2", "-subj", "/CN=engine", "-addext", &name];
    let use_of = ["-addext", "basicConstraints=CA:FALSE"];
    let by = ["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-keyout", "key.pem", "-out", "cert.pem"];
    openssl(directory.path(), &[&new_key[..], &signed, &use_of, &by].concat());
    directory
}

fn openssl(directory: &Path, arguments: &[&str]) {
    let made = Command::new("openssl").args(arguments).current_dir(directory).output();
    let made = made.expect("openssl is on PATH");
    assert!(made.status.success(), "{}", text(&made.stderr));
}
