//! Logging in.

use std::time::Instant;

use secrecy::{ExposeSecret as _, SecretString};
use ssh2::{ErrorCode, KeyboardInteractivePrompt, Prompt, Session};

use super::credential::is_encrypted;
use super::link::Link;
use super::{Credential, Endpoint, Patience, SshError};

// What libssh2 calls them, without `LIBSSH2_ERROR_`.
const PASSWORD_EXPIRED: ErrorCode = ErrorCode::Session(-15);
const FILE: ErrorCode = ErrorCode::Session(-16);
const AUTHENTICATION_FAILED: ErrorCode = ErrorCode::Session(-18);
const PUBLICKEY_UNVERIFIED: ErrorCode = ErrorCode::Session(-19);
const KEYFILE_AUTH_FAILED: ErrorCode = ErrorCode::Session(-48);

/// Why a credential did not do.
enum Refusal {
    /// The server does not take it: in words, and perhaps the next does.
    Refused(String),
    /// It cannot be used at all.
    Unusable(SshError),
    /// The server did not answer in time.
    Silent,
    /// The connection is gone.
    Broken(ssh2::Error),
}

/// Tries the credentials of `endpoint`, in order.
pub(super) fn log_in(
    link: &Link,
    endpoint: &Endpoint,
    patience: Patience,
    deadline: Instant,
) -> Result<(), SshError> {
    let login = Login { link, user: &endpoint.user, deadline };
    let mut refused = Vec::new();
    let mut unusable = None;
    let denied = |said: String| {
        let (host, user) = (endpoint.host.clone(), endpoint.user.clone());
        SshError::Denied { host, user, said }
    };
    for credential in &endpoint.credentials {
        let error = match login.try_credential(credential) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match error {
            Refusal::Refused(said) => refused.push(said),
            Refusal::Unusable(error) => unusable = unusable.or(Some(error)),
            Refusal::Silent => {
                let after = patience.connect;
                return Err(SshError::Silent { host: endpoint.host.clone(), after });
            }
            // A server that has had enough closes the connection.
            Refusal::Broken(error) if !refused.is_empty() => {
                refused
                    .push(format!("then the server closed the connection ({})", error.message()));
                return Err(denied(refused.join("; ")));
            }
            Refusal::Broken(error) => return Err(SshError::lost(&endpoint.host, &error)),
        }
    }
    match unusable {
        Some(error) => Err(error),
        None if refused.is_empty() => {
            let (host, user) = (endpoint.host.clone(), endpoint.user.clone());
            Err(SshError::NoCredential { host, user })
        }
        None => Err(denied(refused.join("; "))),
    }
}

struct Login<'a> {
    link: &'a Link,
    user: &'a str,
    deadline: Instant,
}

impl Login<'_> {
    fn try_credential(&self, credential: &Credential) -> Result<(), Refusal> {
        // The ways that the server still offers; asking may be all that it takes.
        let methods = self.until(|session| {
            session
                .auth_methods(self.user)
                .map(|methods| methods.split(',').map(str::to_owned).collect::<Vec<_>>())
        });
        if self.link.session().authenticated() {
            return Ok(());
        }
        let methods = methods?;
        match credential {
            Credential::Password(password) => self.password(&methods, password),
            Credential::Key { private_key, passphrase } => {
                self.key(&methods, private_key, passphrase.as_ref())
            }
            Credential::Agent => self.agent(),
        }
    }

    fn password(&self, methods: &[String], password: &SecretString) -> Result<(), Refusal> {
        let offers = |name: &str| methods.iter().any(|method| method == name);
        let password = password.expose_secret();
        let result = if offers("password") {
            self.until(|session| session.userauth_password(self.user, password))
        } else if offers("keyboard-interactive") {
            let mut prompter = Answer(password);
            self.until(|session| session.userauth_keyboard_interactive(self.user, &mut prompter))
        } else {
            let said = format!("it takes no passwords, only {}", methods.join(", "));
            return Err(Refusal::Refused(said));
        };
        self.verdict("the password", result)
    }

    fn key(
        &self,
        methods: &[String],
        private_key: &SecretString,
        passphrase: Option<&SecretString>,
    ) -> Result<(), Refusal> {
        let unusable = |said: &str| Refusal::Unusable(SshError::Key { said: said.to_owned() });
        let encrypted = is_encrypted(private_key.expose_secret());
        match (encrypted, passphrase) {
            (None, _) => return Err(unusable("it is no private key in OpenSSH's or PEM's format")),
            (Some(true), None) => {
                return Err(unusable("it is encrypted, and no passphrase is given"));
            }
            _ => {}
        }
        if !methods.iter().any(|method| method == "publickey") {
            let said = format!("it takes no keys, only {}", methods.join(", "));
            return Err(Refusal::Refused(said));
        }
        let passphrase = passphrase.map(|passphrase| passphrase.expose_secret());
        let result = self.until(|session| {
            let key = private_key.expose_secret();
            session.userauth_pubkey_memory(self.user, None, key, passphrase)
        });
        match result {
            Err(Refusal::Broken(error)) if [FILE, KEYFILE_AUTH_FAILED].contains(&error.code()) => {
                Err(match encrypted {
                    Some(true) => unusable("the passphrase is wrong"),
                    _ => unusable(&format!(
                        "it is damaged, or of an unknown kind: {}",
                        error.message()
                    )),
                })
            }
            result => self.verdict("the key", result),
        }
    }

    fn agent(&self) -> Result<(), Refusal> {
        let refused = |error: ssh2::Error| {
            Refusal::Refused(format!("no agent answers at SSH_AUTH_SOCK ({})", error.message()))
        };
        let mut agent = self.link.session().agent().map_err(refused)?;
        agent.connect().map_err(refused)?;
        agent.list_identities().map_err(refused)?;
        let identities = agent.identities().map_err(refused)?;
        for identity in &identities {
            let result = self.until(|_| agent.userauth(self.user, identity));
            match self.verdict("a key of the agent", result) {
                Err(Refusal::Refused(_)) => {}
                end => return end,
            }
        }
        let said = match identities.len() {
            0 => "the agent has no keys".to_owned(),
            1 => "it does not take the agent's key".to_owned(),
            count => format!("it takes none of the agent's {count} keys"),
        };
        Err(Refusal::Refused(said))
    }

    fn verdict(&self, what: &str, result: Result<(), Refusal>) -> Result<(), Refusal> {
        match result {
            Err(Refusal::Broken(error)) => Err(match error.code() {
                AUTHENTICATION_FAILED | PUBLICKEY_UNVERIFIED => {
                    Refusal::Refused(format!("it does not take {what}"))
                }
                PASSWORD_EXPIRED => Refusal::Refused("the password has expired".to_owned()),
                _ if self.is_connected(&error) => {
                    Refusal::Refused(format!("{what}: {}", error.message()))
                }
                _ => Refusal::Broken(error),
            }),
            result => result,
        }
    }

    /// Says whether an error is about something else than the connection.
    fn is_connected(&self, error: &ssh2::Error) -> bool {
        let ErrorCode::Session(code) = error.code() else { return true };
        // Alloc, socket send, time-out, disconnect, socket receive, and broken encryption.
        ![-6, -7, -9, -13, -43, -4, -12, -14].contains(&code)
    }

    fn until<T>(
        &self,
        attempt: impl FnMut(&Session) -> Result<T, ssh2::Error>,
    ) -> Result<T, Refusal> {
        match self.link.try_until(self.deadline, attempt) {
            Ok(Some(done)) => Ok(done),
            Ok(None) => Err(Refusal::Silent),
            Err(error) => Err(Refusal::Broken(error)),
        }
    }
}

/// Answers every question that is not to be seen with the password.
struct Answer<'a>(&'a str);

impl KeyboardInteractivePrompt for Answer<'_> {
    fn prompt(&mut self, _user: &str, _text: &str, prompts: &[Prompt<'_>]) -> Vec<String> {
        let answer = |prompt: &Prompt<'_>| match prompt.echo {
            true => String::new(),
            false => self.0.to_owned(),
        };
        prompts.iter().map(answer).collect()
    }
}
