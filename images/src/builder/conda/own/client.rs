//! The HTTP client for channels, as the host is set up.

use std::fs;
use std::time::Duration;

use reqwest::{Certificate, Client, NoProxy, Proxy};

use crate::host::HostVariables;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(15);

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// Makes a client that trusts what the host's variables say and goes through their proxies.
pub(super) fn build(
    host: &HostVariables,
    channels: &[String],
    lock: Option<&str>,
) -> Result<Client, reqwest::Error> {
    crate::tls::install_provider();
    let mut builder = Client::builder()
        .user_agent(concat!("trainyard/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .no_proxy();
    let secure = channels.iter().any(|channel| channel.starts_with("https:"))
        || lock.is_some_and(|lock| lock.contains("https:"));
    if !secure {
        // Reading the host's certificates takes a while.
        builder = builder.tls_certs_only([]);
    } else if let Some(certificates) = certificates(host)? {
        builder = builder.tls_certs_only(certificates);
    }
    for proxy in proxies(host)? {
        builder = builder.proxy(proxy);
    }
    builder.build()
}

/// Returns what is to be trusted in place of the system's certificates, if the host says so. A file
/// that cannot be read says nothing.
fn certificates(host: &HostVariables) -> Result<Option<Vec<Certificate>>, reqwest::Error> {
    let named = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
    let bundle = named.iter().find_map(|name| fs::read(host.get(name)?).ok());
    bundle.map(|bundle| Certificate::from_pem_bundle(&bundle)).transpose()
}

fn proxies(host: &HostVariables) -> Result<Vec<Proxy>, reqwest::Error> {
    let value = |names: [&str; 2]| names.iter().find_map(|name| host.get(name)?.to_str());
    let except = value(["no_proxy", "NO_PROXY"]).and_then(NoProxy::from_string);
    let mut proxies = Vec::new();
    if let Some(proxy) = value(["https_proxy", "HTTPS_PROXY"]) {
        proxies.push(Proxy::https(proxy)?);
    }
    if let Some(proxy) = value(["http_proxy", "HTTP_PROXY"]) {
        proxies.push(Proxy::http(proxy)?);
    }
    if let Some(proxy) = value(["all_proxy", "ALL_PROXY"]) {
        proxies.push(Proxy::all(proxy)?);
    }
    Ok(proxies.into_iter().map(|proxy| proxy.no_proxy(except.clone())).collect())
}
