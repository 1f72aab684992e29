//! The `.dockerignore` of a build context.
//!
//! Its rules are not git's: every pattern starts at the root of the context, is cleaned as a path
//! (`./a//b/` is `a/b`), and matches what is below what it matches, too. The last pattern that
//! matches decides, wherever it stands; with `!` a path comes back even from an ignored directory.

mod glob;

use std::path::Path;

use self::glob::Glob;
use super::IgnoreError;
use super::rule_file::{MAX_BYTES, MAX_PATTERNS};

/// The patterns of one file, in order.
#[derive(Debug)]
pub(super) struct DockerIgnore {
    patterns: Vec<DockerPattern>,
}

#[derive(Debug)]
struct DockerPattern {
    /// As it was cleaned, `!` included.
    text: String,
    /// Brings back what it matches.
    keeps: bool,
    glob: Glob,
}

impl DockerIgnore {
    /// Reads the text of the ignore file that is called `shown`.
    pub(super) fn parse(shown: &Path, text: &[u8]) -> Result<Self, IgnoreError> {
        let path = shown.to_owned();
        if text.len() > MAX_BYTES {
            return Err(IgnoreError::TooLong { path, limit_bytes: MAX_BYTES });
        }
        let text = String::from_utf8_lossy(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text));
        let mut patterns = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let parsed = DockerPattern::parse(line.trim());
            let wrong = || IgnoreError::Pattern {
                path: path.clone(),
                line: at + 1,
                pattern: line.trim().to_owned(),
            };
            patterns.push(parsed.ok_or_else(wrong)?);
        }
        if patterns.len() > MAX_PATTERNS {
            return Err(IgnoreError::TooManyPatterns { path, limit: MAX_PATTERNS });
        }
        Ok(Self { patterns })
    }

    /// Returns the text of every pattern, in order.
    pub(super) fn patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(|pattern| &*pattern.text)
    }

    /// Returns whether `path`, relative to the context, is ignored.
    pub(super) fn excludes(&self, path: &[u8]) -> bool {
        let path = String::from_utf8_lossy(path);
        let slashes = path.match_indices('/').map(|(at, _)| &path[..at]);
        let with_those_above: Vec<&str> = slashes.chain([&*path]).collect();
        let mut excluded = false;
        for pattern in &self.patterns {
            // Only a pattern that would change the verdict is of interest.
            if pattern.keeps == excluded
                && with_those_above.iter().any(|path| pattern.glob.matches(path))
            {
                excluded = !pattern.keeps;
            }
        }
        excluded
    }

    /// Returns whether something below the ignored directory `path` may be kept.
    pub(super) fn may_keep_below(&self, path: &[u8]) -> bool {
        let below = format!("{}/", String::from_utf8_lossy(path));
        self.patterns.iter().filter(|pattern| pattern.keeps).any(|pattern| {
            let literal = pattern.glob.literal_start();
            literal.starts_with(&below) || below.starts_with(literal)
        })
    }
}

impl DockerPattern {
    /// Reads one line without spaces around it; `None` if it cannot be a pattern.
    fn parse(line: &str) -> Option<Self> {
        let body = line.strip_prefix('!').map(str::trim);
        let keeps = body.is_some();
        let cleaned = clean(body.unwrap_or(line));
        // From the root of the context either way.
        let cleaned = match cleaned.strip_prefix('/') {
            Some(rest) if !rest.is_empty() => rest.to_owned(),
            _ => cleaned,
        };
        if body == Some("") {
            return None;
        }
        let glob = Glob::parse(&cleaned)?;
        let text = if keeps { format!("!{cleaned}") } else { cleaned };
        Some(Self { text, keeps, glob })
    }
}

/// Cleans a path by its text alone: no empty or `.` parts, and `..` takes back the part before it.
fn clean(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            _ => parts.push(part),
        }
    }
    match (absolute, parts.join("/")) {
        (true, joined) => format!("/{joined}"),
        (false, joined) if joined.is_empty() => ".".to_owned(),
        (false, joined) => joined,
    }
}

#[cfg(test)]
mod tests;
