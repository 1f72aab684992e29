//! How attached machines are logged in to: in files of their own, or systemd's.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use runner::durable_file;
use runner::ssh::Credential;
use serde::{Deserialize, Serialize};
use snapshots::path_error::{IoContext, PathError};
use utoipa::ToSchema;

use super::error::RegistryError;
use crate::api::wire::submission::Hidden;

/// What systemd calls the credential of a target: this, and its name.
const SYSTEMD: &str = "trainyard.target.";

/// What a systemd credential that is a password begins with.
const PASSWORD: &str = "password:";

/// What proves who logs in. `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub(crate) enum KeptCredential {
    /// A password.
    Password {
        /// The password.
        #[schema(value_type = String)]
        password: Hidden,
    },
    /// A private key.
    Key {
        /// Its text, as in the file.
        #[schema(value_type = String)]
        private_key: Hidden,
        /// What decrypts it.
        #[schema(value_type = Option<String>)]
        passphrase: Option<Hidden>,
    },
    /// The keys of the SSH agent that the agent's `SSH_AUTH_SOCK` names.
    Agent,
}

impl KeptCredential {
    /// Returns what it is, for people.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Password { .. } => "password",
            Self::Key { .. } => "key",
            Self::Agent => "agent",
        }
    }

    fn to_ssh(&self) -> Credential {
        match self {
            Self::Password { password } => Credential::Password(password.0.clone().into()),
            Self::Key { private_key, passphrase } => Credential::Key {
                private_key: private_key.0.clone().into(),
                passphrase: passphrase.as_ref().map(|text| text.0.clone().into()),
            },
            Self::Agent => Credential::Agent,
        }
    }
}

/// Returns credentials as a connection takes them.
pub(super) fn to_ssh(credentials: &[KeptCredential]) -> Vec<Credential> {
    credentials.iter().map(KeptCredential::to_ssh).collect()
}

/// The files of credentials: `credentials/NAME.json`, and what systemd hands over.
#[derive(Clone, Debug)]
pub(super) struct CredentialFiles {
    directory: PathBuf,
    systemd: Option<PathBuf>,
}

impl CredentialFiles {
    /// Keeps them in `directory`; `systemd` is `CREDENTIALS_DIRECTORY`.
    pub(super) fn new(directory: PathBuf, systemd: Option<PathBuf>) -> Self {
        Self { directory, systemd }
    }

    /// Returns the credentials of target `name`, and whether they are systemd's: those take the
    /// place of what is stored.
    ///
    /// # Errors
    ///
    /// A file is there and cannot be read or understood.
    pub(super) fn read(&self, name: &str) -> Result<(Vec<KeptCredential>, bool), PathError> {
        if let Some(credential) = self.of_systemd(name)? {
            return Ok((vec![credential], true));
        }
        Ok((durable_file::read_json(&self.path(name))?.unwrap_or_default(), false))
    }

    /// Returns what systemd hands over for target `name`.
    ///
    /// # Errors
    ///
    /// There is nothing, or it cannot be read.
    pub(super) fn demand_of_systemd(&self, name: &str) -> Result<KeptCredential, RegistryError> {
        self.of_systemd(name)?.ok_or_else(|| {
            let message = match &self.systemd {
                Some(_) => format!("systemd hands the agent no credential {SYSTEMD}{name}"),
                None => "the agent is no service of systemd that is handed credentials".to_owned(),
            };
            let hint = format!(
                "add LoadCredentialEncrypted={SYSTEMD}{name}:PATH to the unit of the agent and \
                 start it again; the file holds the text of a private key, or {PASSWORD} and a \
                 password"
            );
            RegistryError::Invalid { message, hint: Some(hint) }
        })
    }

    /// Says whether systemd hands over what lets in to target `name`.
    ///
    /// # Errors
    ///
    /// It is there and cannot be read.
    pub(super) fn is_of_systemd(&self, name: &str) -> Result<bool, PathError> {
        Ok(self.of_systemd(name)?.is_some())
    }

    fn of_systemd(&self, name: &str) -> Result<Option<KeptCredential>, PathError> {
        let Some(directory) = &self.systemd else { return Ok(None) };
        let path = directory.join(format!("{SYSTEMD}{name}"));
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.context("read", &path)?,
        };
        Ok(Some(match text.strip_prefix(PASSWORD) {
            Some(password) => {
                let password = password.strip_suffix('\n').unwrap_or(password).to_owned();
                KeptCredential::Password { password: Hidden(password) }
            }
            None => KeptCredential::Key { private_key: Hidden(text), passphrase: None },
        }))
    }

    /// Keeps the credentials of target `name`: on the disk, for this user only, when it returns.
    ///
    /// # Errors
    ///
    /// The step that did not work. What was kept before still is.
    pub(super) fn write(
        &self,
        name: &str,
        credentials: &[KeptCredential],
    ) -> Result<(), PathError> {
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.context("create", &self.directory)?,
        }
        // The file is made with mode 0600, as temporary files are.
        durable_file::write_json(&self.path(name), &credentials)
    }

    /// Forgets the credentials of target `name`, if there are any.
    ///
    /// # Errors
    ///
    /// The file cannot be removed.
    pub(super) fn remove(&self, name: &str) -> Result<(), PathError> {
        remove(&self.path(name))
    }

    /// Removes the credentials of all targets but those in `names`: what a crash left between two
    /// steps.
    ///
    /// # Errors
    ///
    /// The directory cannot be read, or a file not removed.
    pub(super) fn keep_only(&self, names: &[String]) -> Result<(), PathError> {
        let entries = match std::fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.context("read", &self.directory)?,
        };
        for entry in entries {
            let path = entry.context("read", &self.directory)?.path();
            let name = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
            if !names.iter().any(|known| known == name) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }
}

pub(super) fn remove(path: &Path) -> Result<(), PathError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.context("remove", path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn password(text: &str) -> KeptCredential {
        KeptCredential::Password { password: Hidden(text.to_owned()) }
    }

    #[test]
    fn credentials_are_for_their_owner_only_and_do_not_print() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("credentials");
        let files = CredentialFiles::new(directory.clone(), None);
        let key = KeptCredential::Key {
            private_key: Hidden("hunter2".to_owned()),
            passphrase: Some(Hidden("hunter2".to_owned())),
        };
        let kept = vec![password("hunter2"), key, KeptCredential::Agent];

        files.write("gpu-vm", &kept).unwrap();

        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join("gpu-vm.json")), 0o600);
        assert_eq!(files.read("gpu-vm").unwrap(), (kept.clone(), false));
        assert!(!format!("{kept:?} {:?}", to_ssh(&kept)).contains("hunter2"));
        assert_eq!(files.read("other").unwrap(), (Vec::new(), false));

        files.write("gone", &kept).unwrap();
        files.keep_only(&["gpu-vm".to_owned()]).unwrap();
        assert_eq!(files.read("gone").unwrap().0, Vec::new());
        assert_eq!(files.read("gpu-vm").unwrap().0, kept);
        files.remove("gpu-vm").unwrap();
        files.remove("gpu-vm").unwrap();
        assert_eq!(files.read("gpu-vm").unwrap().0, Vec::new());
    }

    #[test]
    fn what_systemd_hands_over_takes_the_place_of_what_is_stored() {
        let home = tempfile::tempdir().unwrap();
        let systemd = home.path().join("systemd");
        std::fs::create_dir(&systemd).unwrap();
        let files = CredentialFiles::new(home.path().join("credentials"), Some(systemd.clone()));
        files.write("gpu-vm", &[password("old")]).unwrap();
        let hand_over = |text: &str| std::fs::write(systemd.join("trainyard.target.gpu-vm"), text);

        assert!(files.demand_of_systemd("gpu-vm").is_err());
        hand_over("password:two words \n").unwrap();
        assert_eq!(files.read("gpu-vm").unwrap(), (vec![password("two words ")], true));
        hand_over("-----BEGIN\nkey\n").unwrap();
        let key = files.demand_of_systemd("gpu-vm").unwrap();
        let text = Hidden("-----BEGIN\nkey\n".to_owned());
        assert_eq!(key, KeptCredential::Key { private_key: text, passphrase: None });
        let none = CredentialFiles::new(systemd, None).demand_of_systemd("gpu-vm").unwrap_err();
        assert!(none.to_string().contains("no service of systemd"), "{none}");
    }
}
