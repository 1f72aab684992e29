//! An agent on another machine: where it is, and what it is asked with.

use std::ffi::OsString;
use std::path::PathBuf;

use reqwest::Url;

use super::WorkspaceError;
use crate::api::wire::submission::Hidden;

/// An agent that is asked over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Its root: scheme, host and port.
    pub(crate) url: Url,
    /// The token, where it is in the environment.
    pub(crate) token: Option<Hidden>,
    /// The file that has it, where that is named.
    pub(crate) token_file: Option<PathBuf>,
    /// The certificates that its own may rest on, in place of the system's.
    pub(crate) ca_file: Option<PathBuf>,
}

/// Says whether what is said of a socket is a URL.
pub(crate) fn is_url(text: &str) -> bool {
    let begins = |scheme: &str| {
        text.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    };
    begins("https://") || begins("http://")
}

impl Server {
    /// Takes the agent at `text`, with what the environment says of the token.
    ///
    /// # Errors
    ///
    /// It is no place of an agent.
    pub(super) fn at(
        text: &str,
        set: &dyn Fn(&'static str) -> Option<OsString>,
    ) -> Result<Self, WorkspaceError> {
        let url = place(text).map_err(|why| WorkspaceError::Url { why })?;
        let token = set("TRAINYARD_TOKEN").map(|token| token.to_string_lossy().trim().to_owned());
        Ok(Self {
            url,
            token: token.map(Hidden),
            token_file: set("TRAINYARD_TOKEN_FILE").map(PathBuf::from),
            ca_file: set("TRAINYARD_CA_FILE").map(PathBuf::from),
        })
    }

    /// What it is called among machines.
    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }
}

/// Reads the place of an agent; says what is wrong with anything else. What it was is not repeated:
/// there may be a password in it.
fn place(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "it cannot be read")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it names a user");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("it has more than a host and a port");
    }
    if url.scheme() == "http" && !is_this_machine(&url) {
        return Err("http:// is for this machine alone, since all could read what is said");
    }
    Ok(url)
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    host == "localhost" || address.is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_place_is_a_host_and_a_port() {
        for (text, name) in [
            ("https://train.example.com:8443", "https://train.example.com:8443"),
            ("HTTPS://Train.example.com/", "https://train.example.com"),
            ("http://localhost:8443", "http://localhost:8443"),
            ("http://127.0.0.9:1", "http://127.0.0.9:1"),
            ("http://[::1]:1", "http://[::1]:1"),
        ] {
            assert!(is_url(text));
            assert_eq!(Server::at(text, &|_| None).unwrap().name(), name);
        }
        let refused = [
            "https://",
            "https://ana:secret@x",
            "https://x/v1",
            "https://x?token=secret",
            "https://x#y",
            "http://x",
            "http://192.0.2.7:8443",
            "http://localhost.evil.com",
        ]
        .map(|text| format!("{text}: {}", place(text).unwrap_err()));
        insta::assert_snapshot!(refused.join("\n"), @r"
        https://: it cannot be read
        https://ana:secret@x: it names a user
        https://x/v1: it has more than a host and a port
        https://x?token=secret: it has more than a host and a port
        https://x#y: it has more than a host and a port
        http://x: http:// is for this machine alone, since all could read what is said
        http://192.0.2.7:8443: http:// is for this machine alone, since all could read what is said
        http://localhost.evil.com: http:// is for this machine alone, since all could read what is said
        ");
        assert!(!is_url("/run/agent.sock") && !is_url("ftp://x") && !is_url("htt"));
    }

    #[test]
    fn a_token_does_not_print() {
        let server = Server::at("https://x", &|name| {
            (name == "TRAINYARD_TOKEN").then(|| OsString::from(" ty_secret\n"))
        });

        let server = server.unwrap();

        assert_eq!(server.token, Some(Hidden("ty_secret".to_owned())));
        assert!(!format!("{server:?}").contains("secret"));
    }
}
