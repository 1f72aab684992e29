//! Contexts of the `docker` command line: places of engines with names.
//!
//! As it keeps them: which one is current in `config.json`, each in
//! `contexts/meta/SHA-256 of its name/meta.json`, its certificates in
//! `contexts/tls/…/docker/{ca,cert,key}.pem`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use snapshots::digest::Digest;

use super::EngineError;
use super::address::Address;
use super::tls_files::TlsFiles;
use crate::host::HostVariables;

/// The one that there always is: the usual socket.
const DEFAULT: &str = "default";

/// A context that is to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContextName {
    pub(super) name: String,
    /// What says so: a variable or a file.
    pub(super) named_by: String,
}

/// What of `config.json` concerns contexts.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    current_context: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    #[serde(default)]
    endpoints: BTreeMap<String, Endpoint>,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[derive(Default)]
struct Endpoint {
    host: String,
    #[serde(rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

/// Returns the directory of `docker`'s own files.
pub(super) fn directory(variables: &HostVariables) -> Option<PathBuf> {
    let given = variables.get("DOCKER_CONFIG").map(PathBuf::from);
    given.or_else(|| Some(Path::new(variables.get("HOME")?).join(".docker")))
}

/// Returns which context is to be used, unless it is the default one. A file that `docker` itself
/// would pass over, with a warning, names none.
pub(super) fn current(variables: &HostVariables) -> Option<ContextName> {
    let named = match variables.get("DOCKER_CONTEXT") {
        Some(name) => ContextName {
            name: name.to_string_lossy().into_owned(),
            named_by: "DOCKER_CONTEXT".to_owned(),
        },
        None => {
            let path = directory(variables)?.join("config.json");
            let config: Config = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            let named_by = path.display().to_string();
            ContextName { name: config.current_context, named_by }
        }
    };
    Some(named).filter(|named| !named.name.is_empty() && named.name != DEFAULT)
}

impl ContextName {
    /// Reads where its engine is.
    pub(super) fn address(&self, variables: &HostVariables) -> Result<Address, EngineError> {
        let Some(directory) = directory(variables) else {
            return Err(self.unusable("there is no HOME to look for it".to_owned()));
        };
        let contexts = directory.join("contexts");
        let id = Digest::of(self.name.as_bytes()).to_string();
        let file = contexts.join("meta").join(&id).join("meta.json");
        let text = fs::read(&file).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                self.unusable(format!("there is none of that name in {}", contexts.display()))
            }
            _ => self.unusable(format!("{} cannot be read: {error}", file.display())),
        })?;
        let metadata: Metadata = serde_json::from_slice(&text).map_err(|error| {
            self.unusable(format!("{} is not understood: {error}", file.display()))
        })?;
        let Some(endpoint) = metadata.endpoints.get("docker") else {
            return Err(self.unusable("it has no Docker engine".to_owned()));
        };
        let tls = contexts.join("tls").join(&id).join("docker");
        let tls = tls.is_dir().then(|| TlsFiles::within(tls));
        let address = Address::parse(&endpoint.host, tls);
        match address {
            Address::Tcp { .. } if endpoint.skip_tls_verify => Err(self.unusable(
                "it says not to check the engine's certificate, which is always checked".to_owned(),
            )),
            address => Ok(address),
        }
    }

    fn unusable(&self, why: String) -> EngineError {
        let Self { name, named_by } = self.clone();
        EngineError::Context { name, named_by, why }
    }
}
