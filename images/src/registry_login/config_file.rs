//! The file `config.json` of `docker login`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde::Deserialize;

use crate::engine::RegistryLogin;
use crate::host::HostVariables;

use super::{LoginError, TOKEN_USER};

/// More than anybody's file has.
const LIMIT: u64 = 4 << 20;

/// What of it concerns logins. Not to be printed.
pub(super) struct ConfigFile {
    path: PathBuf,
    content: Content,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Content {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

/// As `docker login` writes it. Has no `Debug`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    /// `user:password` in base64.
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

impl ConfigFile {
    /// Reads the file, if there is one.
    pub(super) fn read(variables: &HostVariables) -> Result<Option<Self>, LoginError> {
        let directory = variables
            .get("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| Some(Path::new(variables.get("HOME")?).join(".docker")));
        let Some(path) = directory.map(|directory| directory.join("config.json")) else {
            return Ok(None);
        };
        let text = match read_limited(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LoginError::File { path, message: error.to_string() }),
        };
        match serde_json::from_slice(&text) {
            Ok(content) => Ok(Some(Self { path, content })),
            // Where it is wrong is enough: what is there may be a secret.
            Err(error) => {
                let message = format!("line {} is not understood", error.line());
                Err(LoginError::File { path, message })
            }
        }
    }

    /// Returns the name of the program that has the logins of `registry`.
    pub(super) fn helper(&self, registry: &str) -> Option<&str> {
        let own = self.content.cred_helpers.iter().find(|(name, _)| host(name) == host(registry));
        let name = own.map_or(&self.content.creds_store, |(_, name)| name);
        Some(name.as_str()).filter(|name| !name.is_empty())
    }

    /// Returns the login that the file itself has for `registry`.
    pub(super) fn login(&self, registry: &str) -> Result<Option<RegistryLogin>, LoginError> {
        let entries = &self.content.auths;
        let entry = entries.get(registry).or_else(|| {
            let found = entries.iter().find(|(name, _)| host(name) == host(registry));
            found.map(|(_, entry)| entry)
        });
        let Some(entry) = entry else { return Ok(None) };
        let (username, password) = entry.login().ok_or_else(|| LoginError::File {
            path: self.path.clone(),
            message: format!("its login for {registry} is not understood"),
        })?;
        if username.is_empty() {
            return Ok(None);
        }
        Ok(Some(RegistryLogin { address: registry.to_owned(), username, password }))
    }
}

impl Entry {
    /// Returns user and password; no user where the entry is empty, as it is where a helper has it.
    fn login(&self) -> Option<(String, SecretString)> {
        if !self.identitytoken.is_empty() {
            return Some((TOKEN_USER.to_owned(), self.identitytoken.clone().into()));
        }
        if self.auth.is_empty() {
            return Some((self.username.clone(), self.password.clone().into()));
        }
        let decoded = String::from_utf8(STANDARD.decode(self.auth.trim()).ok()?).ok()?;
        let (username, password) = decoded.split_once(':')?;
        Some((username.to_owned(), password.trim_matches('\0').into()))
    }
}

fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(LIMIT).read_to_end(&mut text)?;
    Ok(text)
}

/// The host of a registry's name: entries are written with and without the rest.
fn host(registry: &str) -> &str {
    let rest = registry.split_once("://").map_or(registry, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

#[cfg(test)]
mod tests;
