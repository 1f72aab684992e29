//! Where engines are looked for, and who says so.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::EngineError;
use super::address::Address;
use super::docker_context::{self, ContextName};
use super::tls_files::TlsFiles;
use crate::host::HostVariables;

/// Docker's usual socket.
const USUAL: &str = "/var/run/docker.sock";

/// Where an engine is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnginePlace {
    pub(super) first: Address,
    /// Where it is looked for next. Whoever names a place means that place: then there are none.
    pub(super) others: Vec<Address>,
    origin: EngineOrigin,
}

/// Who says where an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineOrigin {
    /// The variable `DOCKER_HOST`.
    Variable,
    /// A context of the `docker` command line.
    Context {
        /// What it is called.
        name: String,
        /// What makes it the current one: `DOCKER_CONTEXT`, or the path of `config.json`.
        named_by: String,
    },
    /// Nobody: it is looked for at the usual sockets.
    Usual,
}

impl fmt::Display for EngineOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable => f.write_str("named by DOCKER_HOST"),
            Self::Context { name, named_by } => {
                write!(f, "named by docker context {name:?} of {named_by}")
            }
            Self::Usual => f.write_str("one of the usual sockets"),
        }
    }
}

impl EnginePlace {
    /// Looks as `docker` does: at `DOCKER_HOST`, then at the context of `DOCKER_CONTEXT`, then at
    /// the current one of `config.json`; and without any of these at the usual sockets.
    ///
    /// # Errors
    ///
    /// The context is not there or cannot be used.
    pub fn find(variables: &HostVariables) -> Result<Self, EngineError> {
        if let Some(host) = variables.get("DOCKER_HOST") {
            let first = named(&host.to_string_lossy(), variables);
            return Ok(Self { first, others: Vec::new(), origin: EngineOrigin::Variable });
        }
        if let Some(context) = docker_context::current(variables) {
            let first = context.address(variables)?;
            let ContextName { name, named_by } = context;
            let origin = EngineOrigin::Context { name, named_by };
            return Ok(Self { first, others: Vec::new(), origin });
        }
        let runtime =
            variables.get("XDG_RUNTIME_DIR").map(Path::new).filter(|path| path.is_absolute());
        let others = runtime.into_iter().flat_map(|directory| {
            ["docker.sock", "podman/podman.sock"].map(|name| Address::Unix(directory.join(name)))
        });
        let first = Address::Unix(PathBuf::from(USUAL));
        Ok(Self { first, others: others.collect(), origin: EngineOrigin::Usual })
    }

    /// Returns who says so.
    #[must_use]
    pub fn origin(&self) -> &EngineOrigin {
        &self.origin
    }

    /// Returns `variables` in which the place of a context is named by itself, so that it stays the
    /// same when another context becomes the current one.
    #[must_use]
    pub fn pinned(variables: &HostVariables) -> HostVariables {
        let Ok(Self { first, origin: EngineOrigin::Context { .. }, .. }) = Self::find(variables)
        else {
            // Whoever connects is told what is wrong with a context.
            return variables.clone();
        };
        let mut set = vec![("DOCKER_HOST", OsString::from(first.to_string()))];
        if let Address::Tcp { tls: Some(files), .. } = &first {
            set.push(("DOCKER_TLS_VERIFY", "1".into()));
            set.push(("DOCKER_CERT_PATH", files.directory().into()));
        }
        let others = variables.iter().filter(|(name, _)| {
            !["DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"].iter().any(|n| name == n)
        });
        let others = others.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let set = set.into_iter().map(|(name, value)| (name.into(), value));
        HostVariables::new(others.chain(set))
    }
}

/// Reads what `DOCKER_HOST` says.
fn named(text: &str, variables: &HostVariables) -> Address {
    // As `docker` itself: any value but an empty one asks for TLS.
    let tls = variables.get("DOCKER_TLS_VERIFY").is_some() || text.starts_with("https:");
    let files = || {
        let given = variables.get("DOCKER_CERT_PATH").map(PathBuf::from);
        given.or_else(|| docker_context::directory(variables)).unwrap_or_default()
    };
    Address::parse(text, tls.then(|| TlsFiles::within(files())))
}

#[cfg(test)]
mod tests;
