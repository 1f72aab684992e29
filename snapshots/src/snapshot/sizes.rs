//! Adds up how much is where, for the limits and what is said about them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::limits::{LimitError, LimitWarning, Limits, Size, Sizes};

/// A directory under this part of a limit is not worth naming when the limit is passed.
const WORTH_NAMING: u64 = 100;

/// As many directories as could be named, and those inside them that could be named instead.
const MOST_NAMED: usize = 200;

/// How much was found, and the directories that hold much of it.
pub(super) struct LargeDirectories {
    limits: Limits,
    files: AtomicU64,
    bytes: AtomicU64,
    large: Mutex<Vec<(Vec<u8>, Size)>>,
}

impl LargeDirectories {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, files: 0.into(), bytes: 0.into(), large: Mutex::default() }
    }

    /// Counts what was found.
    pub(super) fn found(&self, size: Size) {
        self.files.fetch_add(size.files, Ordering::Relaxed);
        self.bytes.fetch_add(size.bytes, Ordering::Relaxed);
    }

    /// Returns whether so much was found that the snapshot will be refused.
    pub(super) fn over_limit(&self) -> bool {
        self.files.load(Ordering::Relaxed) > self.limits.max_files
            || self.bytes.load(Ordering::Relaxed) > self.limits.max_bytes
    }

    /// Returns whether a directory is worth naming if a limit is passed.
    pub(super) fn is_large(&self, size: Size) -> bool {
        size.files > self.limits.warn_files.min(self.limits.max_files) / WORTH_NAMING
            || size.bytes > self.limits.warn_bytes.min(self.limits.max_bytes) / WORTH_NAMING
    }

    /// Adds a directory that is worth naming, with the size of all that is below it.
    pub(super) fn add(&self, path: Vec<u8>, size: Size) {
        self.large.lock().unwrap_or_else(PoisonError::into_inner).push((path, size));
    }

    /// Compares the size of the whole with the limits.
    pub(super) fn check(
        self,
        total: Size,
        ignore_file: &'static str,
    ) -> Result<Vec<LimitWarning>, LimitError> {
        self.limits.check(total, || {
            let mut large = self.large.into_inner().unwrap_or_else(PoisonError::into_inner);
            let mut named = BTreeMap::new();
            for amount in [|size: &Size| size.bytes, |size: &Size| size.files] {
                large.sort_unstable_by(|(path, size), (other, other_size)| {
                    amount(other_size).cmp(&amount(size)).then_with(|| path.cmp(other))
                });
                named.extend(large.iter().take(MOST_NAMED).cloned());
            }
            Sizes::of_directories(ignore_file, total, named)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_directories_are_named_by_bytes_and_by_files() {
        let limits = Limits { max_bytes: 1000, ..Limits::default() };
        let sizes = LargeDirectories::new(limits);
        sizes.found(Size { files: 2, bytes: 1001 });
        assert!(sizes.over_limit());
        for (path, bytes) in [("small", 10), ("data", 900)] {
            let size = Size { files: 1, bytes };
            if sizes.is_large(size) {
                sizes.add(path.into(), size);
            }
        }
        let refused = sizes.check(Size { files: 2, bytes: 1001 }, ".gitignore").unwrap_err();
        let LimitError::TooLarge { advice, .. } = refused else { panic!("{refused}") };
        assert_eq!(advice.largest, [("data".into(), Size { files: 1, bytes: 900 })]);
    }
}
