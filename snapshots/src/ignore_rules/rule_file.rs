//! One ignore file: its patterns in order, and how to find the last one that matches quickly.

use std::path::{Path, PathBuf};

use super::IgnoreError;
use super::pattern::{Pattern, Shape};

/// The longest ignore file that is read.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// The most patterns that one ignore file may hold.
pub(super) const MAX_PATTERNS: usize = 10_000;

/// The patterns of one ignore file.
///
/// The last pattern that matches decides. Plain names, `*.ext` and plain paths are looked up;
/// only what is left is tried one by one, from the end, and no further than what a look-up found.
#[derive(Debug)]
pub(super) struct RuleFile {
    /// What to call the file, relative to the source.
    shown: PathBuf,
    patterns: Vec<Pattern>,
    names: Lookup,
    extensions: Lookup,
    paths: Lookup,
    /// The patterns that are in none of the look-ups, last first.
    others: Vec<u32>,
    looks_at_paths: bool,
}

impl RuleFile {
    /// Reads the text of the ignore file that is called `shown`.
    pub(super) fn parse(shown: &Path, text: &[u8]) -> Result<Self, IgnoreError> {
        if text.len() > MAX_BYTES {
            return Err(IgnoreError::TooLong { path: shown.to_owned(), limit_bytes: MAX_BYTES });
        }
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let patterns: Vec<Pattern> = (1u32..)
            .zip(text.split(|byte| *byte == b'\n'))
            .filter_map(|(line, entry)| Pattern::parse(entry, line))
            .collect();
        if patterns.len() > MAX_PATTERNS {
            return Err(IgnoreError::TooManyPatterns {
                path: shown.to_owned(),
                limit: MAX_PATTERNS,
            });
        }
        Ok(Self::index(shown.to_owned(), patterns))
    }

    fn index(shown: PathBuf, patterns: Vec<Pattern>) -> Self {
        let (mut names, mut extensions, mut paths) = (Vec::new(), Vec::new(), Vec::new());
        let mut others = Vec::new();
        let mut looks_at_paths = false;
        for (index, pattern) in (0u32..).zip(&patterns) {
            match &pattern.shape {
                Shape::Name(name) => names.push((name.clone(), index)),
                Shape::Suffix(suffix) if extension(suffix) == Some(suffix) => {
                    extensions.push((suffix.clone(), index));
                }
                Shape::Path(path) => paths.push((path.clone(), index)),
                Shape::Suffix(_) | Shape::NameGlob(_) => others.push(index),
                Shape::PathGlob { .. } => {
                    looks_at_paths = true;
                    others.push(index);
                }
            }
        }
        others.reverse();
        looks_at_paths |= !paths.is_empty();
        let (names, extensions) = (Lookup::new(names), Lookup::new(extensions));
        let paths = Lookup::new(paths);
        Self { shown, patterns, names, extensions, paths, others, looks_at_paths }
    }

    pub(super) fn shown(&self) -> &Path {
        &self.shown
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Returns the text of every pattern, in order.
    pub(super) fn patterns(&self) -> impl Iterator<Item = &[u8]> {
        self.patterns.iter().map(|pattern| &*pattern.text)
    }

    /// Returns the last pattern that `matches`.
    pub(super) fn last_that(&self, matches: impl Fn(&Pattern) -> bool) -> Option<&Pattern> {
        self.patterns.iter().rev().find(|pattern| matches(pattern))
    }

    /// Returns whether [`Self::last_match`] needs to know the path.
    pub(super) fn looks_at_paths(&self) -> bool {
        self.looks_at_paths
    }

    /// Returns the last pattern that matches the file `name`, whose path from this file's
    /// directory is `path`.
    pub(super) fn last_match(&self, path: &[u8], name: &[u8], is_dir: bool) -> Option<&Pattern> {
        let applies = |index: u32| is_dir || !self.patterns[index as usize].directories_only;
        let mut best = self.names.last(name, applies);
        if let Some(extension) = extension(name) {
            best = best.max(self.extensions.last(extension, applies));
        }
        best = best.max(self.paths.last(path, applies));
        for &index in &self.others {
            if best.is_some_and(|best| best > index) {
                break;
            }
            let pattern = &self.patterns[index as usize];
            if applies(index) && (pattern.matches_name(name) || pattern.matches_path(path)) {
                best = Some(index);
                break;
            }
        }
        best.map(|index| &self.patterns[index as usize])
    }
}

/// Returns the end of `name` from its last dot on.
fn extension(name: &[u8]) -> Option<&[u8]> {
    memchr::memrchr(b'.', name).map(|dot| &name[dot..])
}

/// Finds all patterns with the same literal. Sorted rather than hashed: nobody can make it slow.
#[derive(Debug)]
struct Lookup {
    entries: Vec<(Box<[u8]>, u32)>,
    /// A bit for each [`mark`] that an entry has. Most names that are asked for have none.
    marks: Box<[u64]>,
}

impl Lookup {
    fn new(mut entries: Vec<(Box<[u8]>, u32)>) -> Self {
        entries.sort_unstable();
        let words =
            if entries.is_empty() { 0 } else { (entries.len() / 8 + 1).next_power_of_two() };
        let mut marks = vec![0u64; words].into_boxed_slice();
        for (literal, _) in &entries {
            let (word, bit) = mark(literal, words);
            marks[word] |= bit;
        }
        Self { entries, marks }
    }

    /// Returns the highest number that is listed under `key` and `applies`.
    fn last(&self, key: &[u8], applies: impl Fn(u32) -> bool) -> Option<u32> {
        if self.marks.is_empty() {
            return None;
        }
        let (word, bit) = mark(key, self.marks.len());
        if self.marks[word] & bit == 0 {
            return None;
        }
        let end = self.entries.partition_point(|(listed, _)| **listed <= *key);
        self.entries[..end]
            .iter()
            .rev()
            .take_while(|(listed, _)| **listed == *key)
            .map(|(_, index)| *index)
            .find(|index| applies(*index))
    }
}

/// Returns a word and a bit in it that tell texts of another length or with other ends apart.
fn mark(text: &[u8], words: usize) -> (usize, u64) {
    let at = |index: usize| usize::from(*text.get(index).unwrap_or(&0));
    let (last, middle) = (at(text.len().wrapping_sub(1)), at(text.len() / 2));
    let mixed = text.len() + at(0) * 5 + at(1) * 31 + middle * 131 + last * 521;
    (mixed / 64 % words, 1 << (mixed % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(100))]
        #[test]
        fn looking_up_finds_what_trying_one_by_one_finds(
            lines in proptest::collection::vec("!?/?(\\*|\\*\\.)?[ab]{1,3}(\\.[cd]|\\*)?(/[ab*]{1,2})?/?", 0..60),
            path in "([ab]{1,3}/)?[ab]{1,4}(\\.[cd]){0,2}",
            is_dir: bool,
        ) {
            let file = RuleFile::parse(Path::new("x"), lines.join("\n").as_bytes()).unwrap();
            let path = path.as_bytes();
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap();

            let found = file.last_match(path, name, is_dir).map(|pattern| pattern.line);

            let tried = file.last_that(|pattern| {
                (is_dir || !pattern.directories_only)
                    && (pattern.matches_name(name) || pattern.matches_path(path))
            });
            proptest::prop_assert_eq!(found, tried.map(|pattern| pattern.line));
        }
    }
}
