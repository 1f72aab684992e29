//! What proves who logs in.

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
