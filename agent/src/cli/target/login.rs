//! How a machine is logged in to: secrets from files, from standard input, or asked for.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use super::private_key::{self, Kind};
use crate::api::wire::submission::Hidden;
use crate::cli::{Failure, variables};
use crate::targets::KeptCredential;

/// No private key is longer.
const LONGEST_KEY: u64 = 64 << 10;

/// The keys that `ssh` tries where nothing names one, in `~/.ssh`.
const USUAL: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// What was typed of it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Login")]
pub(super) struct Login {
    /// Private key to log in with [default: those of ~/.ssh/config, else ~/.ssh/id_*, and the keys
    /// of the SSH agent]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, group = "login")]
    private_key_file: Option<PathBuf>,
    /// Reads the passphrase of the key from standard input, or asks for it on a terminal
    #[arg(long, conflicts_with_all = ["password_stdin", "ssh_agent", "credential_from_systemd"])]
    passphrase_stdin: bool,
    /// Reads the password from standard input, or asks for it on a terminal
    #[arg(long, group = "login")]
    password_stdin: bool,
    /// Uses the keys of the SSH agent that SSH_AUTH_SOCK named when trainyard's agent was started
    #[arg(long, group = "login")]
    ssh_agent: bool,
    /// Uses the credential trainyard.target.NAME that systemd hands to trainyard's agent
    #[arg(long, group = "login")]
    pub(super) credential_from_systemd: bool,
}

/// Asks a person for what it names, without echo.
pub(super) type Ask<'a> = &'a dyn Fn(&str) -> Result<String, Failure>;

/// Where secrets come from.
pub(super) struct Asking<'a> {
    /// Standard input.
    pub(super) stdin: &'a mut dyn Read,
    /// A person, if one is there.
    pub(super) person: Option<Ask<'a>>,
    /// The home directory.
    pub(super) home: Option<PathBuf>,
    /// Whether there is an SSH agent.
    pub(super) has_agent: bool,
}

impl Login {
    /// Returns the credentials; `identity_files` are those that the configuration of SSH names.
    ///
    /// # Errors
    ///
    /// There are none, or one cannot be used.
    pub(super) fn credentials(
        &self,
        identity_files: &[PathBuf],
        asking: &mut Asking<'_>,
    ) -> Result<Vec<KeptCredential>, Failure> {
        if self.credential_from_systemd {
            return Ok(Vec::new());
        }
        if self.password_stdin {
            let password = asking.secret("password")?;
            return Ok(vec![KeptCredential::Password { password: Hidden(password) }]);
        }
        if self.ssh_agent {
            return Ok(vec![KeptCredential::Agent]);
        }
        if let Some(file) = &self.private_key_file {
            return Ok(vec![self.key(file, asking, &mut None)?]);
        }
        let mut passphrase = None;
        let mut found = Vec::new();
        for file in identity_files.iter().filter(|file| file.exists()) {
            found.push(self.key(file, asking, &mut passphrase)?);
        }
        if identity_files.is_empty() {
            self.usual(asking, &mut passphrase, &mut found)?;
        }
        if asking.has_agent {
            found.push(KeptCredential::Agent);
        }
        if found.is_empty() {
            return Err(Failure::usage("there is no key to log in with").hint(
                "name one with --private-key-file FILE, or give a password with --password-stdin",
            ));
        }
        Ok(found)
    }

    /// Adds the keys that `ssh` would try. One that is encrypted is left to the SSH agent, if there
    /// is one that may have it.
    fn usual(
        &self,
        asking: &mut Asking<'_>,
        passphrase: &mut Option<String>,
        found: &mut Vec<KeptCredential>,
    ) -> Result<(), Failure> {
        let Some(ssh) = asking.home.as_ref().map(|home| home.join(".ssh")) else { return Ok(()) };
        for file in USUAL.map(|name| ssh.join(name)).into_iter().filter(|file| file.exists()) {
            let encrypted = private_key::kind(&read(&file)?) == Kind::Encrypted;
            if !(encrypted && asking.has_agent && !self.passphrase_stdin) {
                found.push(self.key(&file, asking, passphrase)?);
            }
        }
        Ok(())
    }

    /// Reads a private key, and its passphrase where it takes one.
    fn key(
        &self,
        file: &Path,
        asking: &mut Asking<'_>,
        passphrase: &mut Option<String>,
    ) -> Result<KeptCredential, Failure> {
        let text = read(file)?;
        let shown = file.display();
        let refused = |what: &str, hint: &str| {
            Err(Failure::usage(format!("{shown} is {what}")).hint(hint.to_owned()))
        };
        match private_key::kind(&text) {
            Kind::Plain => Ok(KeptCredential::Key { private_key: Hidden(text), passphrase: None }),
            Kind::Encrypted => {
                if passphrase.is_none() {
                    if !self.passphrase_stdin && asking.person.is_none() {
                        return refused(
                            "encrypted: it takes its passphrase",
                            "give it with --passphrase-stdin < FILE, or add the key to an SSH \
                             agent and say --ssh-agent",
                        );
                    }
                    *passphrase = Some(asking.secret(&format!("passphrase of {shown}"))?);
                }
                let passphrase = passphrase.clone().map(Hidden);
                Ok(KeptCredential::Key { private_key: Hidden(text), passphrase })
            }
            Kind::Public => refused("a public key", "name the private one: without .pub"),
            Kind::Putty => refused(
                "a key of PuTTY",
                "`puttygen KEY.ppk -O private-openssh -o KEY` makes one of OpenSSH of it",
            ),
            Kind::Other => refused("no private key", "name one of OpenSSH or a PEM file"),
        }
    }
}

impl Asking<'_> {
    fn secret(&mut self, what: &str) -> Result<String, Failure> {
        let secret = match self.person {
            Some(ask) => Some(ask(what)?).filter(|text| !text.is_empty()),
            None => variables::secret_line(self.stdin)?,
        };
        secret.ok_or_else(|| {
            Failure::usage(format!("there is no {what} on standard input"))
                .hint("send it there, as in `trainyard target attach remote … < FILE`")
        })
    }
}

/// Asks a person on the terminal, without echo.
///
/// # Errors
///
/// The terminal cannot be read.
pub(super) fn ask(what: &str) -> Result<String, Failure> {
    let asked = dialoguer::Password::new().with_prompt(what).allow_empty_password(true).interact();
    asked.map_err(Failure::failed)
}

/// Tells whether there is a person to ask.
pub(super) fn is_person() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn read(file: &Path) -> Result<String, Failure> {
    let wrong = |error: std::io::Error| {
        Failure::usage(format!("cannot read the private key {}: {error}", file.display()))
    };
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(wrong)?;
    opened.take(LONGEST_KEY).read_to_string(&mut text).map_err(wrong)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        login: Login,
    }

    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            std::fs::create_dir(home.path().join(".ssh")).unwrap();
            Self(home)
        }

        fn key(&self, name: &str, passphrase: &str) -> PathBuf {
            let file = self.0.path().join(".ssh").join(name);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", passphrase, "-f"])
                .arg(&file)
                .status()
                .unwrap();
            assert!(made.success());
            file
        }

        /// Says in a word each what would be used.
        fn told(&self, words: &[&str], files: &[PathBuf], stdin: &str, agent: bool) -> String {
            self.asked(words, files, stdin, agent, None)
        }

        fn asked(
            &self,
            words: &[&str],
            files: &[PathBuf],
            stdin: &str,
            has_agent: bool,
            person: Option<Ask<'_>>,
        ) -> String {
            let line = Line::try_parse_from([&["x"], words].concat()).unwrap();
            let mut stdin = stdin.as_bytes();
            let home = Some(self.0.path().to_owned());
            let mut asking = Asking { stdin: &mut stdin, person, home, has_agent };
            let found = match line.login.credentials(files, &mut asking) {
                Ok(found) => found,
                Err(failure) => {
                    let hint = failure.next_step().unwrap_or_default().to_owned();
                    let text = format!("{}; {hint}", failure.message().unwrap());
                    return text.replace(self.0.path().to_str().unwrap(), "~");
                }
            };
            let words = found.iter().map(|credential| match credential {
                KeptCredential::Key { passphrase: Some(Hidden(text)), .. } => {
                    format!("key({text})")
                }
                KeptCredential::Password { password: Hidden(text) } => format!("password({text})"),
                other => other.kind().to_owned(),
            });
            words.collect::<Vec<_>>().join(" ")
        }
    }

    #[test]
    fn what_was_typed_is_what_is_used() {
        let home = Home::new();
        let (plain, secret) = (home.key("plain", ""), home.key("secret", "two words"));
        let public = plain.with_extension("pub");
        let file = |path: &Path| ["--private-key-file".to_owned(), path.display().to_string()];
        let told = |path: &Path, more: &[&str], stdin: &str| {
            let typed = file(path);
            let words: Vec<&str> = typed.iter().map(String::as_str).chain(more.to_vec()).collect();
            home.told(&words, &[], stdin, true)
        };

        assert_eq!(home.told(&["--password-stdin"], &[], "a b \n", true), "password(a b )");
        assert_eq!(home.told(&["--ssh-agent"], &[], "", false), "agent");
        assert_eq!(home.told(&["--credential-from-systemd"], &[], "", true), "");
        assert_eq!(told(&plain, &[], ""), "key");
        assert_eq!(told(&secret, &["--passphrase-stdin"], "two words\n"), "key(two words)");
        insta::assert_snapshot!([
            told(&secret, &[], ""),
            told(&secret, &["--passphrase-stdin"], "\n"),
            told(&public, &[], ""),
            told(Path::new("/etc/hostname"), &[], ""),
            told(Path::new("/no/such/key"), &[], ""),
            home.told(&["--password-stdin"], &[], "", true),
        ].join("\n"), @r#"
        ~/.ssh/secret is encrypted: it takes its passphrase; give it with --passphrase-stdin < FILE, or add the key to an SSH agent and say --ssh-agent
        there is no passphrase of ~/.ssh/secret on standard input; send it there, as in `trainyard target attach remote … < FILE`
        ~/.ssh/plain.pub is a public key; name the private one: without .pub
        /etc/hostname is no private key; name one of OpenSSH or a PEM file
        cannot read the private key /no/such/key: No such file or directory; 
        there is no password on standard input; send it there, as in `trainyard target attach remote … < FILE`
        "#);
        for words in [
            &["--password-stdin", "--ssh-agent"][..],
            &["--password-stdin", "--passphrase-stdin"],
            &["--private-key-file", "x", "--password-stdin"],
        ] {
            assert!(Line::try_parse_from([&["x"], words].concat()).is_err(), "{words:?}");
        }
    }

    #[test]
    fn where_nothing_was_typed_it_is_as_ssh_does_it() {
        let home = Home::new();
        assert!(home.told(&[], &[], "", false).starts_with("there is no key to log in with"));
        assert_eq!(home.told(&[], &[], "", true), "agent");
        home.key("id_rsa", "two words");
        assert_eq!(home.told(&[], &[], "", true), "agent", "which may have the encrypted one");
        assert!(home.told(&[], &[], "", false).contains("~/.ssh/id_rsa is encrypted"));
        let person: Ask<'_> = &|_| Ok("two words".to_owned());
        assert_eq!(home.asked(&[], &[], "", false, Some(person)), "key(two words)");
        home.key("id_ed25519", "");
        assert_eq!(home.told(&[], &[], "", true), "key agent");

        let named = home.key("of the alias", "");
        let gone = home.0.path().join("gone");
        assert_eq!(home.told(&[], &[named, gone], "", false), "key");
    }
}
