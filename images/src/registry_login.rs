//! Logins that `docker login` keeps: in its file, or in a program that the file names.

mod config_file;
mod helper;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use crate::engine::RegistryLogin;
use crate::host::HostVariables;

use self::config_file::ConfigFile;

/// The user that stands for a token in place of user and password.
pub(crate) const TOKEN_USER: &str = "<token>";

/// Why a login could not be looked up. Holds no secrets.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    #[error("cannot read {path:?}: {message}")]
    File { path: PathBuf, message: String },
    #[error("{program:?} gave no login for {registry}: {message}")]
    Helper { program: String, registry: String, message: String },
}

/// Returns the login for `registry`, if there is one.
pub(crate) fn find(
    registry: &str,
    variables: &HostVariables,
    cancel: &AtomicBool,
) -> Result<Option<RegistryLogin>, LoginError> {
    let Some(file) = ConfigFile::read(variables)? else { return Ok(None) };
    let from_helper = match file.helper(registry) {
        Some(name) => helper::ask(name, registry, variables, cancel)?,
        None => None,
    };
    match from_helper {
        Some(login) => Ok(Some(login)),
        None => file.login(registry),
    }
}
