//! Limits on snapshots, and what to say when one is passed.
//!
//! Azure ML refuses snapshots over 300 MiB or 2,000 files. Nothing here has to, so its numbers
//! are warnings, which tell early what will not go to Azure as it is; the hard limits keep a
//! forgotten data directory from filling a disk.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How many directories a message about a limit lists.
const LARGEST_SHOWN: usize = 10;

/// How large a snapshot may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// More bytes than this are worth a warning.
    ///
    /// Default: 300 MiB
    pub warn_bytes: u64,
    /// More files than this are worth a warning.
    ///
    /// Default: 2,000
    pub warn_files: u64,
    /// More bytes than this are refused.
    ///
    /// Default: 20 GiB
    pub max_bytes: u64,
    /// More files than this are refused.
    ///
    /// Default: 1,000,000
    pub max_files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { warn_bytes: 300 << 20, warn_files: 2_000, max_bytes: 20 << 30, max_files: 1_000_000 }
    }
}

impl Limits {
    /// Compares the `total` of a snapshot with the limits.
    ///
    /// `sizes` says what is where. It is asked only when a limit is passed, since adding up
    /// directories takes longer than comparing two numbers.
    ///
    /// # Errors
    ///
    /// A hard limit is passed. The error says where the bytes are and how to ignore them.
    pub fn check(
        &self,
        total: Size,
        sizes: impl FnOnce() -> Sizes,
    ) -> Result<Vec<LimitWarning>, LimitError> {
        if total.bytes <= self.warn_bytes.min(self.max_bytes)
            && total.files <= self.warn_files.min(self.max_files)
        {
            return Ok(Vec::new());
        }
        let sizes = sizes();
        if total.bytes > self.max_bytes {
            return Err(LimitError::TooLarge {
                bytes: total.bytes,
                limit_bytes: self.max_bytes,
                advice: sizes.advice(By::Bytes),
            });
        }
        if total.files > self.max_files {
            return Err(LimitError::TooManyFiles {
                files: total.files,
                limit: self.max_files,
                advice: sizes.advice(By::Files),
            });
        }
        let mut warnings = Vec::new();
        if total.bytes > self.warn_bytes {
            warnings.push(LimitWarning::Large {
                bytes: total.bytes,
                limit_bytes: self.warn_bytes,
                advice: sizes.advice(By::Bytes),
            });
        }
        if total.files > self.warn_files {
            warnings.push(LimitWarning::ManyFiles {
                files: total.files,
                limit: self.warn_files,
                advice: sizes.advice(By::Files),
            });
        }
        Ok(warnings)
    }
}

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
enum By {
    Bytes,
    Files,
}

/// How much of a snapshot is where.
#[derive(Clone, Debug)]
pub struct Sizes {
    total: Size,
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

    fn advice(&self, by: By) -> Advice {
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
struct Bytes(u64);

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

/// A snapshot that is larger than Azure ML would take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitWarning {
    /// It has many bytes.
    Large {
        /// How many there are.
        bytes: u64,
        /// From where on that is many.
        limit_bytes: u64,
        /// What to do.
        advice: Advice,
    },
    /// It has many files.
    ManyFiles {
        /// How many there are.
        files: u64,
        /// From where on that is many.
        limit: u64,
        /// What to do.
        advice: Advice,
    },
}

impl fmt::Display for LimitWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Large { bytes, limit_bytes, advice } => write!(
                f,
                "the snapshot is {}, over Azure ML's limit of {}; {advice}",
                Bytes(*bytes),
                Bytes(*limit_bytes)
            ),
            Self::ManyFiles { files, limit, advice } => {
                write!(
                    f,
                    "the snapshot has {files} files, over Azure ML's limit of {limit}; {advice}"
                )
            }
        }
    }
}

/// Why a snapshot is refused for its size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Too many bytes.
    #[error("the snapshot would be {}, over the limit of {}; {advice}", Bytes(*bytes), Bytes(*limit_bytes))]
    TooLarge {
        /// How many there would be.
        bytes: u64,
        /// How many there may be.
        limit_bytes: u64,
        /// What to do.
        advice: Advice,
    },
    /// Too many files.
    #[error("the snapshot would have {files} files, over the limit of {limit}; {advice}")]
    TooManyFiles {
        /// How many there would be.
        files: u64,
        /// How many there may be.
        limit: u64,
        /// What to do.
        advice: Advice,
    },
}

impl LimitError {
    /// Returns one sentence on what to do next.
    pub fn hint(&self) -> &'static str {
        "ignore data and outputs, or raise the limit"
    }
}

/// Returns whether the file at `path`, relative to the source, looks like a secret by its name.
///
/// This raises a warning and no more: ignore rules are how a file is left out.
pub fn looks_secret(path: &[u8]) -> bool {
    let mut components = path.rsplit(|byte| *byte == b'/');
    let name = components.next().unwrap_or_default().to_ascii_lowercase();
    let in_secret_directory = components.any(|directory| {
        [".aws", ".azure", ".ssh", ".gnupg", ".kube", ".docker"]
            .iter()
            .any(|secret| directory == secret.as_bytes())
    });
    in_secret_directory || secret_name(&name)
}

fn secret_name(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 9] = [
        b".env",
        b".netrc",
        b"_netrc",
        b".pgpass",
        b".git-credentials",
        b".pypirc",
        b".npmrc",
        b"credentials.json",
        b"kaggle.json",
    ];
    const ENDS: [&[u8]; 6] = [b".pem", b".key", b".p12", b".pfx", b".kdbx", b".ppk"];
    // Templates are made to be shared.
    const SHARED: [&[u8]; 4] = [b".example", b".sample", b".template", b".dist"];
    // A public key has an extension, and so have tables called `id_map.csv`.
    let private_key = name.starts_with(b"id_") && !name.contains(&b'.');
    let dot_env = name.starts_with(b".env.") && !SHARED.iter().any(|end| name.ends_with(end));
    NAMES.contains(&name) || private_key || dot_env || ENDS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(files: &[(&str, u64)]) -> Sizes {
        let mut sizes = Sizes::new(".amlignore");
        for (path, bytes) in files {
            sizes.add(path.as_bytes(), *bytes);
        }
        sizes
    }

    fn check(limits: Limits, files: &[(&str, u64)]) -> Result<Vec<LimitWarning>, LimitError> {
        let sizes = sizes(files);
        limits.check(sizes.total(), || sizes)
    }

    #[test]
    fn a_snapshot_at_a_limit_passes_and_one_above_does_not() {
        let limits = Limits { warn_bytes: 10, warn_files: 2, max_bytes: 20, max_files: 3 };
        let check = |files: &[(&str, u64)]| check(limits, files);

        assert_eq!(check(&[("a", 5), ("b", 5)]), Ok(vec![]));
        assert_eq!(check(&[("a", 11)]).unwrap().len(), 1);
        assert_eq!(check(&[("a", 5), ("b", 5), ("c", 10)]).unwrap().len(), 2);
        assert!(matches!(check(&[("a", 21)]), Err(LimitError::TooLarge { bytes: 21, .. })));
        let four = [("a", 1), ("b", 1), ("c", 1), ("d", 1)];
        assert!(matches!(check(&four), Err(LimitError::TooManyFiles { files: 4, .. })));
        assert!(matches!(
            check(&[("a", u64::MAX), ("b", 1)]),
            Err(LimitError::TooLarge { bytes: u64::MAX, .. })
        ));
    }

    #[test]
    fn the_message_says_where_the_bytes_are_and_how_to_leave_them_out() {
        let mut files = vec![("train.py".to_owned(), 10), ("a/b/c/deep".to_owned(), 5 << 30)];
        for number in 0..12_u64 {
            files.push((format!("data{number:02}/x.bin"), (12 - number) << 30));
        }
        files.push(("a/b/small".to_owned(), 3));
        let files: Vec<_> = files.iter().map(|(path, bytes)| (path.as_str(), *bytes)).collect();

        let error = check(Limits::default(), &files).unwrap_err();

        insta::assert_snapshot!(error, @r#"
        the snapshot would be 83.0 GiB, over the limit of 20.0 GiB; the largest directories are:
            12.0 GiB in 1 files  data00/
            11.0 GiB in 1 files  data01/
            10.0 GiB in 1 files  data02/
             9.0 GiB in 1 files  data03/
             8.0 GiB in 1 files  data04/
             7.0 GiB in 1 files  data05/
             6.0 GiB in 1 files  data06/
             5.0 GiB in 1 files  a/b/c/
             5.0 GiB in 1 files  data07/
             4.0 GiB in 1 files  data08/
        a line such as "/data00/" in .amlignore leaves one out
        "#);
        assert!(!error.hint().is_empty());
    }

    #[test]
    fn warnings_name_the_limits_of_azure() {
        let files: Vec<String> = (0..2001).map(|number| format!("f\n/{number}")).collect();
        let files: Vec<_> = files.iter().map(|path| (path.as_str(), 1 << 18)).collect();

        let warnings = check(Limits::default(), &files).unwrap();

        let text: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n--\n"), @r#"
        the snapshot is 500.2 MiB, over Azure ML's limit of 300.0 MiB; the largest directories are:
           500.2 MiB in 2001 files  f?/
        a line such as "/f*/" in .amlignore leaves one out
        --
        the snapshot has 2001 files, over Azure ML's limit of 2000; the largest directories are:
           500.2 MiB in 2001 files  f?/
        a line such as "/f*/" in .amlignore leaves one out
        "#);
    }

    #[test]
    fn files_at_the_top_are_said_to_be_there() {
        let error = check(Limits::default(), &[("x", 21 << 30)]).unwrap_err();
        insta::assert_snapshot!(error, @"the snapshot would be 21.0 GiB, over the limit of 20.0 GiB; the files are in the source directory itself");
    }

    #[test]
    fn bytes_are_written_for_people() {
        let shown: Vec<String> = [0, 1023, 1024, 1536, 300 << 20, 20 << 30, u64::MAX]
            .map(|n| Bytes(n).to_string())
            .into();
        insta::assert_snapshot!(shown.join(", "), @"0 bytes, 1023 bytes, 1.0 KiB, 1.5 KiB, 300.0 MiB, 20.0 GiB, 15.9 EiB");
    }

    #[test]
    fn secrets_are_told_by_their_names() {
        let secret = [
            ".env",
            "app/.env",
            ".env.production",
            "id_rsa",
            "keys/ID_ED25519",
            "server.pem",
            "x.key",
            ".aws/credentials",
            "a/.azure/azureProfile.json",
            ".ssh/config",
            ".netrc",
        ];
        for path in secret {
            assert!(looks_secret(path.as_bytes()), "{path}");
        }
        let plain = [
            "env",
            ".env.example",
            "id_rsa.pub",
            "id_map.csv",
            "pem",
            "train.py",
            "aws/credentials",
            "keys.py",
            "valid_rsa",
            "",
        ];
        for path in plain {
            assert!(!looks_secret(path.as_bytes()), "{path}");
        }
    }
}
