//! Files that look like secrets.

/// Returns whether the file at `path`, relative to the source, looks like a secret by its name.
///
/// This raises a warning and no more: ignore rules are how a file is left out.
pub fn looks_secret(path: &[u8]) -> bool {
    let mut components = path.rsplit(|byte| *byte == b'/');
    let name = components.next().unwrap_or_default().to_ascii_lowercase();
    let in_secret_directory = components.any(|directory| {
        [".aws", ".azure", ".ssh", ".gnupg", ".kube", ".docker"]
            .iter()
            .any(|secret| directory == secret.as_bytes())
    });
    in_secret_directory || secret_name(&name)
}

fn secret_name(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 9] = [
        b".env",
        b".netrc",
        b"_netrc",
        b".pgpass",
        b".git-credentials",
        b".pypirc",
        b".npmrc",
        b"credentials.json",
        b"kaggle.json",
    ];
    const ENDS: [&[u8]; 6] = [b".pem", b".key", b".p12", b".pfx", b".kdbx", b".ppk"];
    // Templates are made to be shared.
    const SHARED: [&[u8]; 4] = [b".example", b".sample", b".template", b".dist"];
    // A public key has an extension, and so have tables called `id_map.csv`.
    let private_key = name.starts_with(b"id_") && !name.contains(&b'.');
    let dot_env = name.starts_with(b".env.") && !SHARED.iter().any(|end| name.ends_with(end));
    NAMES.contains(&name) || private_key || dot_env || ENDS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_by_their_names() {
        let secret = [
            ".env",
            "app/.env",
            ".env.production",
            "id_rsa",
            "keys/ID_ED25519",
            "server.pem",
            "x.key",
            ".aws/credentials",
            "a/.azure/azureProfile.json",
            ".ssh/config",
            ".netrc",
        ];
        for path in secret {
            assert!(looks_secret(path.as_bytes()), "{path}");
        }
        let plain = [
            "env",
            ".env.example",
            "id_rsa.pub",
            "id_map.csv",
            "pem",
            "train.py",
            "aws/credentials",
            "keys.py",
            "valid_rsa",
            "",
        ];
        for path in plain {
            assert!(!looks_secret(path.as_bytes()), "{path}");
        }
    }
}
