//! What a request over TCP has to be like before anything is done for it.
//!
//! A browser sends what any page tells it to, also to this machine: the names in `Host` and
//! `Origin` tell whether a page of somebody else's is behind a request, and a form cannot say that
//! it is JSON. Who asks is said by the token alone.

use axum::http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, ORIGIN, TRANSFER_ENCODING,
};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method};

use super::super::error::ApiError;
use crate::listen::Hosts;
use crate::token::{Token, TokenRefused};

/// What a body may be said to be; which of the two it must be, each route knows.
const BODIES: [&str; 2] = ["application/json", "application/octet-stream"];

/// The agent's names, and how it is spoken to.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) hosts: Hosts,
    /// `https` or `http`.
    pub(super) scheme: &'static str,
}

impl Gate {
    /// Refuses what a page of another site can have made a browser send.
    pub(super) fn check(&self, request: &Parts) -> Result<(), ApiError> {
        let host = self.host(request)?;
        if request.headers.contains_key(ORIGIN) {
            let own = format!("{}://{host}", self.scheme);
            let origin = only(&request.headers, ORIGIN);
            if !origin.is_some_and(|origin| origin.eq_ignore_ascii_case(&own)) {
                let origin = origin.unwrap_or_default().to_owned();
                return Err(ApiError::OtherOrigin { origin });
            }
        }
        check_body(&request.method, &request.headers)
    }

    /// Returns what the request calls the agent, which has to be one of its names. The port does
    /// not count: it may be forwarded.
    fn host<'a>(&self, request: &'a Parts) -> Result<&'a str, ApiError> {
        let said = only(&request.headers, HOST);
        let other = |host: &str| ApiError::OtherHost { host: host.to_owned() };
        let host = said.ok_or_else(|| other(""))?;
        let is_ours = |authority: &Authority| {
            !authority.as_str().contains('@') && self.hosts.has(authority.host())
        };
        // Where the target of the request is a whole URL, that counts too.
        let target = request.uri.authority();
        if let Some(target) = target.filter(|target| !is_ours(target)) {
            return Err(other(target.as_str()));
        }
        match host.parse() {
            Ok(authority) if is_ours(&authority) => Ok(host),
            _ => Err(other(host)),
        }
    }
}

/// Refuses bodies that a form can send.
fn check_body(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    if only_looks(method) {
        return Ok(());
    }
    let refused = Err(ApiError::MediaType { expected: BODIES[0] });
    if headers.contains_key(CONTENT_TYPE) {
        let said = only(headers, CONTENT_TYPE).unwrap_or_default();
        let kind = said.split(';').next().unwrap_or_default().trim();
        let is_known = BODIES.iter().any(|known| kind.eq_ignore_ascii_case(known));
        return if is_known { Ok(()) } else { refused };
    }
    let is_empty = headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0");
    if is_empty && !headers.contains_key(TRANSFER_ENCODING) { Ok(()) } else { refused }
}

/// Says whether a request changes nothing.
pub(super) fn only_looks(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Takes the token out of a request, so that nothing behind sees it.
///
/// # Errors
///
/// There is none, or what is there is none.
pub(super) fn take_token(headers: &mut HeaderMap) -> Result<Token, TokenRefused> {
    if !headers.contains_key(AUTHORIZATION) {
        return Err(TokenRefused::Missing);
    }
    let token = only(headers, AUTHORIZATION).and_then(|said| {
        let (scheme, token) = said.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| Token::parse(token.trim_matches(' ')))?
    });
    headers.remove(AUTHORIZATION);
    token.ok_or(TokenRefused::Malformed)
}

/// Returns the value of a header that is there once, and is text.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use proptest::prelude::*;

    use super::*;

    fn gate() -> Gate {
        let names = ["train.example.com".to_owned()];
        let hosts = Hosts::new("192.0.2.7:8443".parse().unwrap(), &names);
        Gate { hosts: hosts.unwrap(), scheme: "https" }
    }

    fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn code(request: &Parts) -> &'static str {
        match gate().check(request) {
            Ok(()) => "-",
            Err(ApiError::OtherHost { .. }) => "host",
            Err(ApiError::OtherOrigin { .. }) => "origin",
            Err(ApiError::MediaType { .. }) => "type",
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn the_host_is_one_of_the_agents_names() {
        let ours = [
            "localhost",
            "127.0.0.1",
            "[::1]",
            "192.0.2.7",
            "TRAIN.example.com",
            "train.example.com:9000",
            "localhost:1",
        ];
        for host in ours {
            assert_eq!(code(&request("GET", "/", &[("host", host)])), "-", "{host}");
        }
        let others = [
            "",
            "evil.com",
            "evil.com:8443",
            "train.example.com.evil.com",
            "localhost.",
            "x@localhost",
            "localhost@evil.com",
            "localhost evil.com",
            "127.0.0.2",
            "[::2]",
            "::1",
            "192.0.2.8",
            "localhost:x:y",
        ];
        for host in others {
            assert_eq!(code(&request("GET", "/", &[("host", host)])), "host", "{host}");
        }
        assert_eq!(code(&request("GET", "/", &[])), "host");
        let twice = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(code(&request("GET", "/", &twice)), "host");
        let named = [("host", "localhost")];
        assert_eq!(code(&request("GET", "http://localhost:8443/v1/status", &named)), "-");
        assert_eq!(code(&request("GET", "http://evil.com/v1/status", &named)), "host");
    }

    #[test]
    fn an_origin_is_our_own_or_none() {
        let with =
            |origin| code(&request("GET", "/", &[("host", "localhost:8443"), ("origin", origin)]));

        assert_eq!(with("https://localhost:8443"), "-");
        for other in [
            "http://localhost:8443",
            "https://localhost",
            "https://evil.com",
            "null",
            "",
            "https://127.0.0.1:8443",
        ] {
            assert_eq!(with(other), "origin", "{other}");
        }
    }

    #[test]
    fn a_form_changes_nothing() {
        let with = |method, headers: &[(&str, &str)]| {
            code(&request(method, "/", &[&[("host", "localhost")], headers].concat()))
        };

        for kind in
            ["application/json", "Application/JSON; charset=utf-8", "application/octet-stream"]
        {
            assert_eq!(with("POST", &[("content-type", kind)]), "-", "{kind}");
        }
        for kind in [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain",
            "",
        ] {
            for method in ["POST", "DELETE", "PUT"] {
                assert_eq!(with(method, &[("content-type", kind)]), "type", "{method} {kind}");
            }
            assert_eq!(with("GET", &[("content-type", kind)]), "-");
        }
        assert_eq!(with("POST", &[]), "-");
        assert_eq!(with("POST", &[("content-length", "0")]), "-");
        assert_eq!(with("POST", &[("content-length", "1")]), "type");
        assert_eq!(with("POST", &[("transfer-encoding", "chunked")]), "type");
    }

    #[test]
    fn a_token_is_taken_out_and_only_from_its_header() {
        let token = Token::generate();
        let shown = |values: &[String]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            let taken = take_token(&mut headers).map(|taken| taken.digest());
            assert!(headers.is_empty());
            taken
        };
        let good = format!("Bearer {}", token.reveal());

        assert_eq!(shown(std::slice::from_ref(&good)), Ok(token.digest()));
        assert_eq!(shown(&[format!("bearer  {}", token.reveal())]), Ok(token.digest()));
        assert_eq!(shown(&[]), Err(TokenRefused::Missing));
        let basic = format!("Basic {}", token.reveal());
        for bad in
            [&["Bearer".to_owned()][..], &["Bearer x".to_owned()], &[basic], &[good.clone(), good]]
        {
            assert_eq!(shown(bad), Err(TokenRefused::Malformed), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_head_gets_past_but_with_our_name(
            host in "[ -~]{0,40}", origin in "[ -~]{0,40}", kind in "[ -~]{0,40}",
        ) {
            let headers = [("host", &*host), ("origin", &*origin), ("content-type", &*kind)];
            let parts = request("POST", "/v1/runs", &headers);
            if gate().check(&parts).is_ok() {
                let name = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
                let ours = ["localhost", "127.0.0.1", "[", "192.0.2.7", "train.example.com"];
                prop_assert!(ours.contains(&&*name), "{host}");
                prop_assert_eq!(origin.to_ascii_lowercase(), format!("https://{host}").to_ascii_lowercase());
            }
        }
    }
}
