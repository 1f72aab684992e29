//! Addresses of repositories, without what must not be recorded.

/// Returns `url` without credentials, query and fragment; `None` if nothing is left to record.
pub(super) fn without_secrets(url: &str) -> Option<String> {
    let mut url = without_credentials(url)?;
    let end = if has_scheme(&url) { url.find(['?', '#']) } else { url.find('?') };
    url.truncate(end.unwrap_or(url.len()));
    Some(url).filter(|url| !url.is_empty())
}

/// Returns `url` without the user and password in it.
///
/// The user `git` of an SSH address stays: everybody's is called that, and without it the address
/// does not work.
pub(super) fn without_credentials(url: &str) -> Option<String> {
    let url = url.trim();
    // Longer or stranger than any address: nobody can tell what it would reveal.
    if url.is_empty() || url.len() > 4096 || url.contains(char::is_control) {
        return None;
    }
    if let Some((helper, address)) = url.split_once("::").filter(|(helper, _)| plain(helper)) {
        // `ext::` and `fd::` are followed by a command line or a number, not by an address.
        let address = (has_scheme(address)).then(|| without_credentials(address)).flatten()?;
        return Some(format!("{helper}::{address}"));
    }
    if let Some((scheme, rest)) = url.split_once("://") {
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        let host = authority.rfind('@').map_or(0, |at| at + 1);
        // A password with a slash in it makes the host end early. What is before the slash then
        // does not look like a port.
        let host = if looks_like_host(&authority[host..]) { host } else { rest.rfind('@')? + 1 };
        let user = kept_user(rest, host, matches!(scheme, "ssh" | "git+ssh" | "ssh+git"));
        return Some(format!("{scheme}://{user}{}", &rest[host..]));
    }
    let colon = url.find(':').unwrap_or(url.len());
    let slash = url.find('/').unwrap_or(url.len());
    if colon > slash || colon == url.len() {
        // A path on this machine.
        return Some(url.to_owned());
    }
    let host = url[..slash].rfind('@').map_or(0, |at| at + 1);
    Some(format!("{}{}", kept_user(url, host, true), &url[host..]))
}

fn kept_user(address: &str, host: usize, ssh: bool) -> &'static str {
    if ssh && &address[..host] == "git@" { "git@" } else { "" }
}

fn has_scheme(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| plain(scheme))
}

fn plain(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// Returns whether `authority` is a host, with or without a port.
fn looks_like_host(authority: &str) -> bool {
    if authority.starts_with('[') {
        return true;
    }
    match authority.split_once(':') {
        Some((_, port)) => port.bytes().all(|byte| byte.is_ascii_digit()),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_lets_anybody_in_is_left() {
        let urls = [
            "https://github.com/a/b.git",
            "https://TOKEN@github.com/a/b.git",
            "https://user:TOKEN@host:8443/a/b?sig=TOKEN#TOKEN",
            "https://user:TOK@EN@host/a",
            "https://user:TO/K@EN@host/a",
            "https://user:TO?K@host/a",
            "https://host/a?TOKEN",
            "https://x-access-token:TOKEN@host",
            "https://TOKEN@[::1]:80/a",
            "HTTPS://u:TOKEN@host/a",
            "ssh://git@host:22/a",
            "ssh://git:TOKEN@host/a",
            "ssh://me@host/a",
            "git@host:a/b.git",
            "me@host:a/b",
            "TOKEN:TOKEN@host:a/b@c",
            "host:a?TOKEN",
            "/srv/git/a@b",
            "../sibling",
            "file:///srv/a",
            "ext::sh -c TOKEN",
            "codecommit::https://u:TOKEN@host/a",
            "http://host:TOKEN/x",
            "a\nb",
            "",
        ];
        let table: String = urls
            .iter()
            .map(|url| format!("{url:?}: {}\n", without_secrets(url).unwrap_or_default()))
            .collect();
        let kept: String =
            urls.iter().filter_map(|url| without_secrets(url)).collect::<Vec<_>>().join(" ");
        assert!(!kept.contains("TO"), "{kept}");
        insta::assert_snapshot!(table, @r#"
        "https://github.com/a/b.git": https://github.com/a/b.git
        "https://TOKEN@github.com/a/b.git": https://github.com/a/b.git
        "https://user:TOKEN@host:8443/a/b?sig=TOKEN#TOKEN": https://host:8443/a/b
        "https://user:TOK@EN@host/a": https://host/a
        "https://user:TO/K@EN@host/a": https://host/a
        "https://user:TO?K@host/a": https://host/a
        "https://host/a?TOKEN": https://host/a
        "https://x-access-token:TOKEN@host": https://host
        "https://TOKEN@[::1]:80/a": https://[::1]:80/a
        "HTTPS://u:TOKEN@host/a": HTTPS://host/a
        "ssh://git@host:22/a": ssh://git@host:22/a
        "ssh://git:TOKEN@host/a": ssh://host/a
        "ssh://me@host/a": ssh://host/a
        "git@host:a/b.git": git@host:a/b.git
        "me@host:a/b": host:a/b
        "TOKEN:TOKEN@host:a/b@c": host:a/b@c
        "host:a?TOKEN": host:a
        "/srv/git/a@b": /srv/git/a@b
        "../sibling": ../sibling
        "file:///srv/a": file:///srv/a
        "ext::sh -c TOKEN": 
        "codecommit::https://u:TOKEN@host/a": codecommit::https://host/a
        "http://host:TOKEN/x": 
        "a\nb": 
        "":
        "#);
    }

    #[test]
    fn the_address_of_a_build_keeps_its_query() {
        let kept = without_credentials("https://u:p@dev.azure.com/o/_build/results?buildId=7");
        assert_eq!(kept.as_deref(), Some("https://dev.azure.com/o/_build/results?buildId=7"));
    }
}
