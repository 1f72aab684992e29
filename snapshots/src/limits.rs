//! Limits on snapshots, and what to say when one is passed.
//!
//! Azure ML refuses snapshots over 300 MiB or 2,000 files. Nothing here has to, so its numbers
//! are warnings, which tell early what will not go to Azure as it is; the hard limits keep a
//! forgotten data directory from filling a disk.

mod secrets;
mod sizes;

use std::fmt;

pub use self::secrets::looks_secret;
pub use self::sizes::{Advice, Size, Sizes};
use self::sizes::{By, Bytes};

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
}
