//! Where engines are looked for.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::host::HostVariables;

/// Docker's usual socket.
const USUAL: &str = "/var/run/docker.sock";

/// Where an engine may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A socket of this machine.
    Unix(PathBuf),
    /// Another machine, or a port of this one: `host:port`.
    Tcp {
        host: String,
        /// Where `key.pem`, `cert.pem` and `ca.pem` are, where it speaks TLS.
        certificates: Option<PathBuf>,
    },
    /// Something else, as it was written.
    Unknown(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, .. } => write!(f, "tcp://{host}"),
            Self::Unknown(text) => f.write_str(text),
        }
    }
}

/// Returns where to look, first and then. Whoever names a place means that place.
pub(super) fn candidates(variables: &HostVariables) -> (Address, Vec<Address>) {
    if let Some(host) = variables.get("DOCKER_HOST") {
        return (named(&host.to_string_lossy(), variables), Vec::new());
    }
    let runtime = variables.get("XDG_RUNTIME_DIR").map(Path::new).filter(|path| path.is_absolute());
    let others = runtime.into_iter().flat_map(|directory| {
        ["docker.sock", "podman/podman.sock"].map(|name| Address::Unix(directory.join(name)))
    });
    (Address::Unix(PathBuf::from(USUAL)), others.collect())
}

fn named(text: &str, variables: &HostVariables) -> Address {
    match text.split_once("://") {
        Some(("unix", path)) => Address::Unix(PathBuf::from(path)),
        Some(("tcp" | "http" | "https", host)) => {
            // As `docker` itself: any value but an empty one asks for TLS.
            let tls = variables.get("DOCKER_TLS_VERIFY").is_some() || text.starts_with("https:");
            Address::Tcp {
                host: host.trim_end_matches('/').to_owned(),
                certificates: if tls { Some(certificates(variables)) } else { None },
            }
        }
        _ => Address::Unknown(text.to_owned()),
    }
}

fn certificates(variables: &HostVariables) -> PathBuf {
    let directory = |name| variables.get(name).map(PathBuf::from);
    directory("DOCKER_CERT_PATH")
        .or_else(|| directory("DOCKER_CONFIG"))
        .or_else(|| Some(directory("HOME")?.join(".docker")))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Vec<String> {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        let (first, others) = candidates(&HostVariables::new(variables));
        std::iter::once(&first).chain(&others).map(Address::to_string).collect()
    }

    #[test]
    fn the_usual_socket_comes_first_then_those_of_the_user() {
        assert_eq!(found(&[]), ["unix:///var/run/docker.sock"]);
        assert_eq!(
            found(&[("XDG_RUNTIME_DIR", "/run/user/7")]),
            [
                "unix:///var/run/docker.sock",
                "unix:///run/user/7/docker.sock",
                "unix:///run/user/7/podman/podman.sock",
            ]
        );
        assert_eq!(found(&[("XDG_RUNTIME_DIR", "here")]), ["unix:///var/run/docker.sock"]);
    }

    #[test]
    fn what_is_named_is_meant() {
        let runtime = ("XDG_RUNTIME_DIR", "/run/user/7");
        assert_eq!(found(&[("DOCKER_HOST", "unix:///s"), runtime]), ["unix:///s"]);
        assert_eq!(found(&[("DOCKER_HOST", "tcp://m:2375/"), runtime]), ["tcp://m:2375"]);
        assert_eq!(found(&[("DOCKER_HOST", "ssh://m"), runtime]), ["ssh://m"]);
        assert_eq!(found(&[("DOCKER_HOST", "")]), ["unix:///var/run/docker.sock"]);
    }

    #[test]
    fn certificates_are_where_docker_has_them() {
        let of = |variables: &[(&str, &str)]| {
            let all = variables.iter().chain(&[("DOCKER_HOST", "tcp://m:2376")]);
            let variables = all.map(|(name, value)| (name.into(), value.into()));
            match candidates(&HostVariables::new(variables)).0 {
                Address::Tcp { certificates, .. } => certificates,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(of(&[("DOCKER_CERT_PATH", "/c")]), None);
        let verify = ("DOCKER_TLS_VERIFY", "1");
        assert_eq!(of(&[("DOCKER_CERT_PATH", "/c"), verify]), Some("/c".into()));
        assert_eq!(of(&[("DOCKER_CONFIG", "/d"), verify]), Some("/d".into()));
        assert_eq!(of(&[("HOME", "/h"), verify]), Some("/h/.docker".into()));
    }
}
