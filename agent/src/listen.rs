//! Listening on TCP: where, under which names and with which certificate. Nothing listens unless
//! it is asked for, and what is asked for is checked before the agent begins to work.

mod certificate;
mod validity;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use certificate::{Certificate, CertificateError, renew};

/// What the configuration says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenPolicy {
    /// The address and port.
    pub(crate) address: SocketAddr,
    /// The certificate and those that it rests on.
    pub(crate) certificate: Option<PathBuf>,
    /// Its key.
    pub(crate) key: Option<PathBuf>,
    /// What the agent is called besides the names of this machine for itself.
    pub(crate) hosts: Vec<String>,
    /// How many may be connected at once.
    pub(crate) connections: usize,
}

/// How the agent can be reached over TCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listening {
    /// Where.
    pub(crate) url: String,
    /// The file of its certificate, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) certificate: Option<PathBuf>,
    /// Until when that certificate is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) certificate_expires_time_utc: Option<Timestamp>,
}

/// What listens, with all that is needed to answer.
pub(crate) struct Listener {
    /// Where connections come in. Nobody is let in yet.
    pub(crate) socket: TcpListener,
    /// What the agent may be called.
    pub(crate) hosts: Hosts,
    /// How many there may be at once.
    pub(crate) connections: usize,
    /// Where that is, for others.
    pub(crate) entrance: Entrance,
}

/// Where the agent answers over TCP.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    url: String,
    /// What connections are encrypted with.
    pub(crate) certificate: Option<Arc<Certificate>>,
}

impl Entrance {
    /// Returns what is told of it.
    pub(crate) fn told(&self) -> Listening {
        let certificate = self.certificate.as_ref();
        Listening {
            url: self.url.clone(),
            certificate: certificate.map(|it| it.file().to_owned()),
            certificate_expires_time_utc: certificate.and_then(|it| it.expires()),
        }
    }
}

/// Why the agent does not listen as it was asked to, and so does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// What is said there could be read and changed on its way.
    #[error("listen.address is {address}, which others can reach, and there is no certificate")]
    Unprotected {
        /// The address.
        address: SocketAddr,
    },
    /// One is nothing without the other.
    #[error("{there} is set, and {missing} is not")]
    Half {
        /// What is set.
        there: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// It is no name that a request could have.
    #[error("listen.hosts has {name:?}, which is no host name")]
    Host {
        /// What it is.
        name: String,
    },
    /// There would be no room left for anything else.
    #[error("listen.connections is {asked}, and this process can have {most}")]
    Connections {
        /// How many are asked for.
        asked: usize,
        /// How many there may be.
        most: usize,
    },
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The system said no.
    #[error("cannot listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system answered.
        source: io::Error,
    },
}

impl ListenError {
    /// Returns what to do next.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Unprotected { address } => format!(
                "set listen.certificate and listen.key to PEM files, or listen.address to 127.0.0.1:{}",
                address.port()
            ),
            Self::Half { missing, .. } => format!("set {missing} to the PEM file of it"),
            Self::Host { .. } => {
                "give names without scheme and port, as in [\"train.example.com\"]".to_owned()
            }
            Self::Connections { most, .. } => format!(
                "set it to {most} or less, or let the process have more files open (ulimit -n, LimitNOFILE=)"
            ),
            Self::Certificate(error) => error.hint(),
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "ports below 1024 are root's: take another, such as 8443".to_owned()
            }
            Self::Bind { .. } => {
                "listen.address has to be an address of this machine and a port that is free"
                    .to_owned()
            }
        }
    }
}

impl Listener {
    /// Does what `policy` asks for.
    ///
    /// # Errors
    ///
    /// It makes no sense, or cannot be had.
    pub(crate) fn open(policy: &ListenPolicy) -> Result<Self, ListenError> {
        let &ListenPolicy { address, connections, .. } = policy;
        let pair = match (&policy.certificate, &policy.key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) if address.ip().is_loopback() => None,
            (None, None) => return Err(ListenError::Unprotected { address }),
            (Some(_), None) => {
                return Err(ListenError::Half {
                    there: "listen.certificate",
                    missing: "listen.key",
                });
            }
            (None, Some(_)) => {
                return Err(ListenError::Half {
                    there: "listen.key",
                    missing: "listen.certificate",
                });
            }
        };
        let most = most_connections();
        if !(1..=most).contains(&connections) {
            return Err(ListenError::Connections { asked: connections, most });
        }
        let hosts = Hosts::new(address, &policy.hosts)?;
        let certificate = pair.map(|(file, key)| Certificate::open(file, key)).transpose()?;
        let failed = |source| ListenError::Bind { address, source };
        let socket = TcpListener::bind(address).map_err(failed)?;
        let bound = socket.local_addr().map_err(failed)?;
        let scheme = if certificate.is_some() { "https" } else { "http" };
        let entrance = Entrance { url: format!("{scheme}://{bound}"), certificate };
        Ok(Self { socket, hosts, connections, entrance })
    }
}

/// Returns how many connections leave as many descriptors for everything else.
fn most_connections() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
    usize::try_from(files / 2).unwrap_or(usize::MAX)
}

/// What the agent may be called: by this machine, by its address, and as the configuration says.
#[derive(Clone, Debug)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    /// Takes those of the configuration.
    ///
    /// # Errors
    ///
    /// One is no name of a host.
    pub(crate) fn new(address: SocketAddr, names: &[String]) -> Result<Self, ListenError> {
        let own = match address {
            SocketAddr::V4(it) => it.ip().to_string(),
            SocketAddr::V6(it) => format!("[{}]", it.ip()),
        };
        let mut hosts = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec();
        hosts.push(own);
        for name in names {
            let authority: Option<axum::http::uri::Authority> = name.parse().ok();
            // Whatever else it has, such as a port, is not part of a host.
            if authority.is_none_or(|it| it.host() != name) {
                return Err(ListenError::Host { name: name.clone() });
            }
            hosts.push(name.clone());
        }
        Ok(Self(hosts))
    }

    /// Says whether `host` is one of them.
    pub(crate) fn has(&self, host: &str) -> bool {
        self.0.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(address: &str) -> ListenPolicy {
        let address = address.parse().unwrap();
        ListenPolicy { address, certificate: None, key: None, hosts: Vec::new(), connections: 8 }
    }

    #[test]
    fn what_cannot_be_listened_on_is_refused_with_what_to_do() {
        let file = |name: &str| Some(PathBuf::from(name));
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let policies = [
            policy("0.0.0.0:8443"),
            policy("192.0.2.7:8443"),
            policy("[::]:8443"),
            ListenPolicy { certificate: file("/c.pem"), ..policy("127.0.0.1:0") },
            ListenPolicy { key: file("/k.pem"), ..policy("127.0.0.1:0") },
            ListenPolicy { hosts: vec!["https://x".into()], ..policy("127.0.0.1:0") },
            ListenPolicy { hosts: vec!["x:8443".into()], ..policy("127.0.0.1:0") },
            ListenPolicy { connections: 0, ..policy("127.0.0.1:0") },
            ListenPolicy { address: taken.local_addr().unwrap(), ..policy("127.0.0.1:0") },
        ];

        let said: Vec<_> = policies
            .iter()
            .map(|policy| {
                let Err(error) = Listener::open(policy) else { panic!("{policy:?}") };
                format!("{error}\n    {}", error.hint())
            })
            .collect();

        let said = said.join("\n");
        let said = said.replace(&taken.local_addr().unwrap().to_string(), "ADDRESS");
        let said = said.replace(&most_connections().to_string(), "MOST");
        insta::assert_snapshot!(said);
    }

    #[test]
    fn on_this_machine_alone_nothing_else_is_needed() {
        for address in ["127.0.0.1:0", "127.9.9.9:0"] {
            let listener = Listener::open(&policy(address)).unwrap();

            let bound = listener.socket.local_addr().unwrap();
            let told = listener.entrance.told();
            assert_eq!((told.url, told.certificate), (format!("http://{bound}"), None));
        }
    }
}
