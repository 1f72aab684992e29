//! What programs say when they are refused something: Python, shells, the C library, Go and Java.

use std::path::{Path, PathBuf};

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// ENOENT
    NotThere,
    /// EACCES
    NoAccess,
    /// EPERM
    NotPermitted,
    /// EROFS
    ReadOnly,
    /// ENOSPC
    NoSpace,
    /// ENETUNREACH, or a name that nobody knows.
    NoNetwork,
}

/// How that is said, in small letters.
const PHRASES: &[(&str, Trouble)] = &[
    ("no such file or directory", Trouble::NotThere),
    ("permission denied", Trouble::NoAccess),
    ("operation not permitted", Trouble::NotPermitted),
    ("read-only file system", Trouble::ReadOnly),
    ("no space left on device", Trouble::NoSpace),
    ("out of shared memory", Trouble::NoSpace),
    ("insufficient shared memory", Trouble::NoSpace),
    ("network is unreachable", Trouble::NoNetwork),
    ("temporary failure in name resolution", Trouble::NoNetwork),
    ("name or service not known", Trouble::NoNetwork),
    ("could not resolve host", Trouble::NoNetwork),
];

/// Longer lines are data.
const LONGEST: usize = 4096;

/// A longer path or word is nothing to show.
const LONGEST_SUBJECT: usize = 200;

/// A line in which a program says what it was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint<'a> {
    pub(super) trouble: Trouble,
    /// The absolute paths in it, in order.
    pub(super) paths: Vec<PathBuf>,
    /// The host in it.
    pub(super) host: Option<&'a str>,
    /// What it begins with: the program and what it wanted.
    pub(super) before: &'a str,
    /// Whether it speaks of shared memory.
    pub(super) is_shared_memory: bool,
}

/// Reads a line.
pub(super) fn complaint(line: &str) -> Option<Complaint<'_>> {
    if line.len() > LONGEST {
        return None;
    }
    let small = line.to_ascii_lowercase();
    let at = |&(phrase, trouble): &(&str, Trouble)| Some((small.find(phrase)?, trouble));
    let (begin, trouble) = PHRASES.iter().find_map(at)?;
    let before = line[..begin]
        .split("[Errno")
        .next()
        .unwrap_or_default()
        .trim_end()
        .trim_end_matches([':', '(', ']', '['])
        .trim_end();
    let mut paths = quoted_paths(line);
    if paths.is_empty() {
        paths.extend(last_path(before));
    }
    paths.retain(|path| path.as_os_str().len() <= LONGEST_SUBJECT);
    Some(Complaint {
        trouble,
        paths,
        host: host(line),
        before: shortened(before),
        is_shared_memory: small.contains("shared memory") || small.contains("</torch_"),
    })
}

/// Returns the absolute paths in quotes.
fn quoted_paths(line: &str) -> Vec<PathBuf> {
    const QUOTES: [(char, char); 4] = [('\'', '\''), ('"', '"'), ('‘', '’'), ('`', '`')];
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(open) = rest.find(|c: char| QUOTES.iter().any(|(open, _)| *open == c)) {
        let quote = rest[open..].chars().next().unwrap_or('\'');
        let close =
            QUOTES.iter().find(|(open, _)| *open == quote).map_or(quote, |(_, close)| *close);
        rest = &rest[open + quote.len_utf8()..];
        if !rest.starts_with('/') {
            continue;
        }
        let Some(end) = rest.find(close) else { break };
        found.push(PathBuf::from(&rest[..end]));
        rest = &rest[end + close.len_utf8()..];
    }
    found
}

/// Returns the absolute path that `text` ends with: after a colon, or else after a space.
fn last_path(text: &str) -> Option<PathBuf> {
    let segment = text.rsplit(": ").next()?;
    let path = if segment.starts_with('/') { segment } else { segment.rsplit(' ').next()? };
    path.starts_with('/').then(|| Path::new(path).to_owned())
}

/// Returns the host that a line names, as curl and Python's libraries do.
fn host(line: &str) -> Option<&str> {
    const MARKS: &[&str] = &["host='", "host=\"", "resolve host: ", "/dev/tcp/", "://"];
    let mark = MARKS.iter().find_map(|mark| Some(line.find(mark)? + mark.len()))?;
    let rest = &line[mark..];
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
    let name = rest[..end].trim_end_matches('.');
    (!name.is_empty() && name.len() <= LONGEST_SUBJECT).then_some(name)
}

fn shortened(text: &str) -> &str {
    let end = text.char_indices().nth(80).map_or(text.len(), |(at, _)| at);
    &text[..end]
}
