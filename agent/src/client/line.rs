//! The line to an agent: through its socket on this machine, or over TCP to another.

use std::path::Path;
use std::time::Duration;

use images::tls;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, ClientBuilder, Method, RequestBuilder, Url, redirect};
use rustls::CertificateError;

use super::ClientError;
use crate::token::Token;
use crate::workspace::Workspace;
use crate::workspace::server::Server;
use crate::workspace::socket_address::SocketAddress;

/// How long another machine may take to let us in.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);

/// How long nothing may be heard of it, not even that it is there.
const SILENCE: Duration = Duration::from_secs(30);

/// A way to ask an agent.
pub(super) struct Line {
    http: reqwest::Client,
    base: Url,
    to: To,
}

/// Where it leads.
enum To {
    /// To a socket.
    Socket {
        workspace: Workspace,
        /// Keeps the socket's directory open where its path is too long for the system.
        _address: SocketAddress,
    },
    /// To another machine.
    Server(Server),
}

impl Line {
    /// Makes the line that `workspace` names. Nothing is said on it yet.
    pub(super) fn to(workspace: &Workspace) -> Result<Self, ClientError> {
        tls::install_provider();
        // A connection that was idle while a large source was read may have been closed by then,
        // and nobody looked: each question has its own.
        let builder = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
        let (builder, base, to) = match workspace.server() {
            Some(server) => {
                (over_tcp(builder, server)?, server.url.clone(), To::Server(server.clone()))
            }
            None => {
                let address = SocketAddress::of(workspace.socket()).map_err(|source| {
                    let socket = workspace.socket().to_owned();
                    ClientError::NoAgent { socket, source: Box::new(source) }
                })?;
                // No certificate is ever looked at, and reading the host's would take a while.
                let builder = builder.unix_socket(address.path()).tls_certs_only([]);
                let base = Url::parse("http://agent").expect("the text is a URL");
                (builder, base, To::Socket { workspace: workspace.clone(), _address: address })
            }
        };
        let http = builder
            .build()
            .map_err(|source| ClientError::Broken { asked: "connect".to_owned(), source })?;
        Ok(Self { http, base, to })
    }

    /// Begins a request for the route that `segments` name.
    pub(super) fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        self.http.request(method, url(&self.base, segments))
    }

    /// Begins a request for a file of a run, whose path need not be UTF-8.
    pub(super) fn file(&self, reference: &str, path: &[u8]) -> RequestBuilder {
        self.http.request(Method::GET, file_url(&self.base, reference, path))
    }

    /// Says why a question got no answer.
    pub(super) fn failure(&self, asked: &str, error: reqwest::Error) -> ClientError {
        match &self.to {
            To::Server(server) => over_tcp_failure(server, asked, error),
            To::Socket { workspace, .. } if error.is_connect() => {
                let socket = workspace.socket().to_owned();
                ClientError::NoAgent { socket, source: innermost(&error).into() }
            }
            To::Socket { .. } => ClientError::Broken { asked: asked.to_owned(), source: error },
        }
    }
}

fn over_tcp(builder: ClientBuilder, server: &Server) -> Result<ClientBuilder, ClientError> {
    let said = format!("Bearer {}", token(server)?.reveal());
    let mut said = HeaderValue::from_str(&said).expect("a token is ASCII");
    said.set_sensitive(true);
    let builder = builder
        .default_headers(HeaderMap::from_iter([(AUTHORIZATION, said)]))
        // The token is for nobody else.
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_PATIENCE)
        .tcp_keepalive(SILENCE / 2)
        .tcp_user_timeout(SILENCE);
    match &server.ca_file {
        _ if server.url.scheme() == "http" => Ok(builder.tls_certs_only([])),
        None => Ok(builder),
        Some(file) => Ok(builder.tls_certs_only(authorities(file)?)),
    }
}

/// Reads the token: from the environment, else from the file that is named.
fn token(server: &Server) -> Result<Token, ClientError> {
    if let Some(token) = &server.token {
        let bad = || ClientError::BadToken { from: "TRAINYARD_TOKEN".to_owned() };
        return Token::parse(&token.0).ok_or_else(bad);
    }
    let Some(file) = &server.token_file else {
        return Err(ClientError::NoToken { url: server.name().to_owned() });
    };
    let read = std::fs::read_to_string(file);
    let text = read.map_err(|source| ClientError::File { path: file.clone(), source })?;
    let bad = || ClientError::BadToken { from: format!("{file:?}") };
    Token::parse(text.trim()).ok_or_else(bad)
}

fn authorities(file: &Path) -> Result<Vec<Certificate>, ClientError> {
    let unusable = |source| ClientError::CaFile { path: file.to_owned(), source };
    let read = tls::certificates(file).map_err(unusable)?;
    let taken: Result<_, _> = read.iter().map(|one| Certificate::from_der(one)).collect();
    taken.map_err(|source| ClientError::Broken { asked: "connect".to_owned(), source })
}

fn over_tcp_failure(server: &Server, asked: &str, error: reqwest::Error) -> ClientError {
    let url = server.name().to_owned();
    match tls::cause(&error) {
        Some(rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            presented,
            ..
        })) => ClientError::OtherName { url, names: presented.iter().map(|it| bare(it)).collect() },
        Some(rustls::Error::InvalidCertificate(CertificateError::NotValidForName)) => {
            ClientError::OtherName { url, names: Vec::new() }
        }
        Some(cause @ rustls::Error::InvalidCertificate(_)) => {
            ClientError::Untrusted { url, source: cause.clone() }
        }
        _ if error.is_connect() => ClientError::NoServer { url, source: innermost(&error).into() },
        _ => ClientError::Broken { asked: asked.to_owned(), source: error.without_url() },
    }
}

/// Returns a name of a certificate without what kind of name it is said to be, as in
/// `DnsName("train.example.com")`.
fn bare(name: &str) -> String {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner.trim_end_matches(')'));
    inner.trim_matches('"').to_owned()
}

/// Returns the URL of a route; each segment is escaped, whatever a name may hold.
fn url(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    url.set_path("/v1");
    url.path_segments_mut().expect("the URL has a path").extend(segments);
    url
}

/// What is as it is in the path of a file's URL.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

fn file_url(base: &Url, reference: &str, path: &[u8]) -> Url {
    let mut url = url(base, &["runs", reference, "files"]);
    let whole = format!("{}/{}", url.path(), percent_encode(path, PLAIN));
    url.set_path(&whole);
    url
}

/// Returns what the system said: the request's address and the layers between tell nobody anything.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Url {
        Url::parse("http://agent").unwrap()
    }

    #[test]
    fn a_name_of_a_certificate_is_told_as_it_is_typed() {
        for (told, typed) in [
            (r#"DnsName("train.example.com")"#, "train.example.com"),
            ("IpAddress(127.0.0.1)", "127.0.0.1"),
            ("train.example.com", "train.example.com"),
        ] {
            assert_eq!(bare(told), typed);
        }
    }

    #[test]
    fn a_files_name_goes_into_its_url_byte_for_byte() {
        let url = file_url(&base(), "a b", b"outputs/\xff %2f?#\n/model.pkl");

        assert_eq!(
            url.as_str(),
            "http://agent/v1/runs/a%20b/files/outputs/%FF%20%252f%3F%23%0A/model.pkl"
        );
    }

    #[test]
    fn a_name_cannot_change_the_route() {
        let shown: Vec<_> = [
            &["runs", "@"][..],
            &["runs", "../agent/stop", "logs"],
            &["runs", "a b?c#d%2f"],
            &["runs", "x", "files", "outputs", "model.pkl"],
        ]
        .iter()
        .map(|segments| url(&base(), segments).to_string())
        .collect();

        insta::assert_snapshot!(shown.join("\n"), @r#"
        http://agent/v1/runs/@
        http://agent/v1/runs/..%2Fagent%2Fstop/logs
        http://agent/v1/runs/a%20b%3Fc%23d%252f
        http://agent/v1/runs/x/files/outputs/model.pkl
        "#);
    }
}
