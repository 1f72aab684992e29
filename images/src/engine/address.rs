//! How engines are reached.

use std::fmt;
use std::path::PathBuf;

use super::tls_files::TlsFiles;

/// The ports of engines, without TLS and with it.
const PORTS: [u16; 2] = [2375, 2376];

/// Where an engine may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A socket of this machine.
    Unix(PathBuf),
    /// Another machine, or a port of this one: `host:port`.
    Tcp {
        host: String,
        /// What it is spoken to with, where it speaks TLS.
        tls: Option<TlsFiles>,
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

impl Address {
    /// Reads `unix://…` or `tcp://…`; `tls` is what TLS would be spoken with, if it is asked for.
    pub(super) fn parse(text: &str, tls: Option<TlsFiles>) -> Self {
        match text.split_once("://") {
            Some(("unix", path)) => Self::Unix(PathBuf::from(path)),
            Some(("tcp" | "http" | "https", host)) => {
                let host = host.trim_end_matches('/');
                let port = PORTS[usize::from(tls.is_some())];
                // Colons are in an IPv6 address, too, but not after its bracket.
                let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
                let host = if has_port { host.to_owned() } else { format!("{host}:{port}") };
                Self::Tcp { host, tls }
            }
            _ => Self::Unknown(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_docker() {
        let shown = |text, tls| Address::parse(text, tls).to_string();
        let tls = || Some(TlsFiles::within("/c"));
        assert_eq!(shown("unix:///s", None), "unix:///s");
        assert_eq!(shown("tcp://m:2377/", tls()), "tcp://m:2377");
        assert_eq!(shown("tcp://m", None), "tcp://m:2375");
        assert_eq!(shown("https://m", tls()), "tcp://m:2376");
        assert_eq!(shown("tcp://[::1]", None), "tcp://[::1]:2375");
        assert_eq!(shown("tcp://[::1]:7", None), "tcp://[::1]:7");
        assert_eq!(Address::parse("ssh://m", None), Address::Unknown("ssh://m".to_owned()));
    }
}
