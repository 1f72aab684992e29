//! How much is where, told so that somebody can do something about it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How many directories a message about a limit lists.
const LARGEST_SHOWN: usize = 10;

/// Bytes and files of one directory, with all that is below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// The sum of the files' lengths.
    pub bytes: u64,
    /// How many files and links there are.
    pub files: u64,
}

/// What a limit looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Bytes,
    Files,
}

/// How much of a snapshot is where.
#[derive(Clone, Debug)]
pub struct Sizes {
    pub(super) total: Size,
    directories: BTreeMap<Vec<u8>, Size>,
    /// The name of the ignore file that the advice speaks of.
    ignore_file: &'static str,
}

impl Sizes {
    /// Starts with nothing; `ignore_file` is where the user would leave something out.
    pub fn new(ignore_file: &'static str) -> Self {
        Self { total: Size::default(), directories: BTreeMap::new(), ignore_file }
    }

    /// Takes sizes that were added up already: of the whole, and of each directory that matters
    /// with all that is below it.
    pub(crate) fn of_directories(
        ignore_file: &'static str,
        total: Size,
        directories: BTreeMap<Vec<u8>, Size>,
    ) -> Self {
        Self { total, directories, ignore_file }
    }

    /// Counts one file in, with its path from the source.
    pub fn add(&mut self, path: &[u8], bytes: u64) {
        let count = |size: &mut Size| {
            size.bytes = size.bytes.saturating_add(bytes);
            size.files += 1;
        };
        count(&mut self.total);
        for slash in memchr::memchr_iter(b'/', path) {
            match self.directories.get_mut(&path[..slash]) {
                Some(size) => count(size),
                None => count(self.directories.entry(path[..slash].to_vec()).or_default()),
            }
        }
    }

    /// Returns the size of the whole snapshot.
    pub fn total(&self) -> Size {
        self.total
    }

    /// Returns the `count` directories with the most bytes, largest first.
    ///
    /// A directory that holds nearly all of its parent stands for both: to hear `a`, `a/b` and
    /// `a/b/c` of the same files helps nobody.
    pub fn largest(&self, count: usize) -> Vec<(PathBuf, Size)> {
        self.ranked(By::Bytes, count)
    }

    fn ranked(&self, by: By, count: usize) -> Vec<(PathBuf, Size)> {
        let amount = |size: &Size| if by == By::Bytes { size.bytes } else { size.files };
        let mut ranked: Vec<_> = self
            .directories
            .iter()
            .filter(|(path, size)| {
                let inside = [path.as_slice(), b"/"].concat();
                let below = self
                    .directories
                    .range(inside.clone()..)
                    .take_while(|(inner, _)| inner.starts_with(&inside))
                    .take(LARGEST_SHOWN * LARGEST_SHOWN);
                let most = below.map(|(_, inner)| amount(inner)).max().unwrap_or(0);
                most < amount(size) - amount(size) / 10
            })
            .collect();
        // Equal ones keep the order of their names.
        ranked.sort_by_key(|(_, size)| std::cmp::Reverse(amount(size)));
        ranked
            .into_iter()
            .take(count)
            .map(|(path, size)| (PathBuf::from(OsStr::from_bytes(path)), *size))
            .collect()
    }

    pub(super) fn advice(&self, by: By) -> Advice {
        Advice { largest: self.ranked(by, LARGEST_SHOWN), ignore_file: self.ignore_file }
    }
}

/// Where the bytes are, and how to leave them out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The largest directories.
    pub largest: Vec<(PathBuf, Size)>,
    /// Where to ignore them.
    pub ignore_file: &'static str,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, _)) = self.largest.first() else {
            return write!(f, "the files are in the source directory itself");
        };
        write!(f, "the largest directories are:")?;
        for (path, size) in &self.largest {
            let bytes = Bytes(size.bytes).to_string();
            write!(f, "\n  {bytes:>10} in {} files  {}/", size.files, shown(path))?;
        }
        let ignore_file = self.ignore_file;
        write!(f, "\na line such as \"{}\" in {ignore_file} leaves one out", pattern_for(first))
    }
}

/// Shows a path on one line, whatever is in it.
fn shown(path: &Path) -> String {
    path.to_string_lossy().replace(|c: char| c.is_control(), "?")
}

/// Writes the pattern that ignores the directory `path`.
fn pattern_for(path: &Path) -> String {
    let mut pattern = String::from("/");
    for c in path.to_string_lossy().chars() {
        match c {
            '*' | '?' | '[' | '\\' => pattern.extend(['\\', c]),
            // What cannot be written on one line is matched by a wildcard.
            c if c.is_control() || c == char::REPLACEMENT_CHARACTER => pattern.push('*'),
            c => pattern.push(c),
        }
    }
    pattern + "/"
}

/// Writes a number of bytes for people.
pub(super) struct Bytes(pub(super) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} bytes", self.0);
        }
        // Tenths, rounded down, so that what is over a limit never reads as the limit exactly
        // because of a float.
        let power = (self.0.ilog2() / 10) as usize;
        let tenths = (u128::from(self.0) * 10) >> (10 * power);
        write!(f, "{}.{} {}", tenths / 10, tenths % 10, units[power - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_for_people() {
        let shown: Vec<String> = [0, 1023, 1024, 1536, 300 << 20, 20 << 30, u64::MAX]
            .map(|n| Bytes(n).to_string())
            .into();
        insta::assert_snapshot!(shown.join(", "), @"0 bytes, 1023 bytes, 1.0 KiB, 1.5 KiB, 300.0 MiB, 20.0 GiB, 15.9 EiB");
    }
}
