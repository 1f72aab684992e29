//! One line of an ignore file.

use crate::wildmatch::{self, Text};

/// A pattern, taken apart once so that most paths are told from it by comparing bytes.
#[derive(Debug)]
pub(super) struct Pattern {
    /// The line without its end and trailing spaces, for people to read.
    pub(super) text: Box<[u8]>,
    /// Counted from 1.
    pub(super) line: u32,
    /// Starts with `!`: what it matches is not ignored.
    pub(super) negated: bool,
    /// Ends with `/`: it matches directories only.
    pub(super) directories_only: bool,
    pub(super) shape: Shape,
}

/// What a pattern is compared with, and how.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `name`: the same file name anywhere below.
    Name(Box<[u8]>),
    /// `*end`: a file name that ends so.
    Suffix(Box<[u8]>),
    /// Any other pattern without a slash.
    NameGlob(Box<[u8]>),
    /// `a/b` or `/a`: the same path from the ignore file's directory on.
    Path(Box<[u8]>),
    /// The same with wildcards. git compares the part before the first of them by itself and
    /// hands only the rest to the matcher, so that `a**/b` means `a` and then `**/b`.
    PathGlob { literal: Box<[u8]>, glob: Box<[u8]> },
}

impl Pattern {
    /// Reads one line (without its line feed); `None` for an empty line or a comment.
    pub(super) fn parse(entry: &[u8], line: u32) -> Option<Self> {
        if entry.is_empty() || entry[0] == b'#' {
            return None;
        }
        let entry = entry.strip_suffix(b"\r").unwrap_or(entry);
        // git keeps patterns as C strings.
        let entry = entry.split(|byte| *byte == 0).next().unwrap_or_default();
        let text = without_trailing_spaces(entry);
        let body = text.strip_prefix(b"!");
        let negated = body.is_some();
        let body = body.unwrap_or(text);
        let directory = body.strip_suffix(b"/");
        let directories_only = directory.is_some();
        let shape = Shape::of(directory.unwrap_or(body));
        Some(Self { text: text.into(), line, negated, directories_only, shape })
    }

    /// Returns whether a pattern that only looks at the file name matches `name`.
    pub(super) fn matches_name(&self, name: &[u8]) -> bool {
        match &self.shape {
            Shape::Name(literal) => **literal == *name,
            Shape::Suffix(suffix) => name.ends_with(suffix),
            Shape::NameGlob(glob) => wildmatch::matches(glob, name, Text::Name),
            Shape::Path(_) | Shape::PathGlob { .. } => false,
        }
    }

    /// Returns whether a pattern that looks at the path matches `path`.
    pub(super) fn matches_path(&self, path: &[u8]) -> bool {
        match &self.shape {
            Shape::Path(literal) => **literal == *path,
            Shape::PathGlob { literal, glob } => path
                .strip_prefix(&**literal)
                .is_some_and(|rest| wildmatch::matches(glob, rest, Text::Path)),
            Shape::Name(_) | Shape::Suffix(_) | Shape::NameGlob(_) => false,
        }
    }
}

impl Shape {
    fn of(body: &[u8]) -> Self {
        let special = |bytes: &[u8]| bytes.iter().position(|byte| wildmatch::is_special(*byte));
        if body.contains(&b'/') {
            let body = body.strip_prefix(b"/").unwrap_or(body);
            return match special(body) {
                None => Self::Path(body.into()),
                Some(at) => Self::PathGlob { literal: body[..at].into(), glob: body[at..].into() },
            };
        }
        match special(body) {
            None => Self::Name(body.into()),
            Some(0) if body[0] == b'*' && special(&body[1..]).is_none() => {
                Self::Suffix(body[1..].into())
            }
            Some(_) => Self::NameGlob(body.into()),
        }
    }
}

/// Cuts off spaces (not tabs) that no backslash keeps.
fn without_trailing_spaces(entry: &[u8]) -> &[u8] {
    let mut end = None;
    let mut at = 0;
    while at < entry.len() {
        match entry[at] {
            b' ' => end = end.or(Some(at)),
            b'\\' if at + 1 == entry.len() => return entry,
            b'\\' => {
                at += 1;
                end = None;
            }
            _ => end = None,
        }
        at += 1;
    }
    &entry[..end.unwrap_or(entry.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(entry: &str) -> String {
        let Some(pattern) = Pattern::parse(entry.as_bytes(), 1) else { return "-".to_owned() };
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let shape = match &pattern.shape {
            Shape::Name(name) => format!("name {:?}", shown(name)),
            Shape::Suffix(suffix) => format!("suffix {:?}", shown(suffix)),
            Shape::NameGlob(glob) => format!("name glob {:?}", shown(glob)),
            Shape::Path(path) => format!("path {:?}", shown(path)),
            Shape::PathGlob { literal, glob } => {
                format!("path {:?} then {:?}", shown(literal), shown(glob))
            }
        };
        let not = if pattern.negated { "not " } else { "" };
        let directories = if pattern.directories_only { ", directories" } else { "" };
        format!("{not}{shape}{directories}")
    }

    #[test]
    fn lines_are_taken_apart_as_git_does() {
        let lines = [
            "", "# x", "\\#x", "!x", "\\!x", "!!x", "x", "x/", "x//", "/x", "//x", "/", "!", "x ",
            "x\\ ", "x \\  ", "x\t", " x", "x\r", "x \r", "*.py", "*", "**", "*.py[co]", "a/b",
            "a/b/", "a/*.x", "a**/b", "/*", "!/a*/", "x\\", "x  \\", "x\0y", " ", "{a,b}",
        ];
        let table: String =
            lines.iter().map(|line| format!("{line:?}: {}\n", parsed(line))).collect();
        insta::assert_snapshot!(table, @r##"
        "": -
        "# x": -
        "\\#x": name glob "\\#x"
        "!x": not name "x"
        "\\!x": name glob "\\!x"
        "!!x": not name "!x"
        "x": name "x"
        "x/": name "x", directories
        "x//": path "x/", directories
        "/x": path "x"
        "//x": path "/x"
        "/": name "", directories
        "!": not name ""
        "x ": name "x"
        "x\\ ": name glob "x\\ "
        "x \\  ": name glob "x \\ "
        "x\t": name "x\t"
        " x": name " x"
        "x\r": name "x"
        "x \r": name "x"
        "*.py": suffix ".py"
        "*": suffix ""
        "**": name glob "**"
        "*.py[co]": name glob "*.py[co]"
        "a/b": path "a/b"
        "a/b/": path "a/b", directories
        "a/*.x": path "a/" then "*.x"
        "a**/b": path "a" then "**/b"
        "/*": path "" then "*"
        "!/a*/": not path "a" then "*", directories
        "x\\": name glob "x\\"
        "x  \\": name glob "x  \\"
        "x\0y": name "x"
        " ": name ""
        "{a,b}": name "{a,b}"
        "##);
    }
}
