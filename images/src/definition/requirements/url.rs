//! Credentials in URLs: found where they must not be, and left out where they may come along.

/// Whether a URL in `text` holds a secret as plain text.
///
/// A password does, and so does a lone user name of a web address, where tokens are put. What is
/// made up of `${NAME}` alone does not, nor does the user of an SSH address.
pub(crate) fn has_credentials(text: &str) -> bool {
    users(text).any(|user| match user.text.split_once(':') {
        Some((_, password)) => !is_variable(password),
        None => user.is_web && !is_variable(user.text),
    })
}

/// Returns `text` without what stands before an `@` in the URLs in it.
///
/// Passwords and tokens change without anything else changing, and are nobody's business.
pub(crate) fn without_credentials(text: &str) -> String {
    let mut cleaned = String::new();
    let mut kept = 0;
    for user in users(text) {
        cleaned += &text[kept..user.start];
        kept = user.start + user.text.len() + 1;
    }
    cleaned + &text[kept..]
}

struct User<'a> {
    start: usize,
    text: &'a str,
    is_web: bool,
}

/// Finds what stands between `://` and `@`.
fn users(text: &str) -> impl Iterator<Item = User<'_>> {
    text.match_indices("://").filter_map(|(at, _)| {
        let start = at + 3;
        let rest = &text[start..];
        let ends = |c: char| c.is_whitespace() || "/?#\"'<>,".contains(c);
        let authority = &rest[..rest.find(ends).unwrap_or(rest.len())];
        let end = authority.rfind('@')?;
        let is_web = text[..at].ends_with("http") || text[..at].ends_with("https");
        Some(User { start, text: &authority[..end], is_web })
    })
}

fn is_variable(text: &str) -> bool {
    text.strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|name| !name.is_empty() && !name.contains(['$', '{', '}']))
        || text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_from_variables_and_ssh_users() {
        for (text, secret) in [
            ("a @ https://user:word@host/a.whl", true),
            ("--index-url https://token@host/simple", true),
            ("--index-url https://${TOKEN}@host/simple", false),
            ("--index-url https://me:${TOKEN}@host/simple", false),
            ("--index-url https://me:x${TOKEN}@host/simple", true),
            ("--index-url https://${ME}:word@host/simple", true),
            ("a @ git+ssh://git@host/a", false),
            ("a @ git+ssh://git:word@host/a", true),
            ("a @ git+https://host/a@v1.0", false),
            ("a @ git+https://word@host/a@v1.0", true),
            ("a==1 ; b == 'x@y'", false),
        ] {
            assert_eq!(has_credentials(text), secret, "{text}");
        }
    }

    #[test]
    fn credentials_are_left_out() {
        assert_eq!(
            without_credentials("a https://u:p@h/x@1,https://t@i/y http://j/@k"),
            "a https://h/x@1,https://i/y http://j/@k"
        );
    }
}
