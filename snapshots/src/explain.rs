//! Why a path is in a snapshot or not, and what makes a snapshot big.

mod imports;
mod judge;
mod python;
mod reach;

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub use self::imports::{IgnoredImport, check_imports};
use self::judge::Judge;
use crate::ignore_rules::{IgnoreKind, IgnoreNote, RuleRef};
use crate::limits::{Size, Sizes};
use crate::snapshot::{SnapshotError, SnapshotOptions, SpecialKind};
use crate::walk;

/// How many of the largest directories and files are told.
const LARGEST: usize = 10;
/// How many ignored paths are told when nobody asked for any in particular.
const IGNORED: usize = 1_000;

/// Why a snapshot of a source would hold what it would hold.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Which ignore files rule the source.
    pub kind: IgnoreKind,
    /// What is odd about them.
    pub notes: Vec<IgnoreNote>,
    /// The paths that were asked for; if none were, all that an ignore rule leaves out, without
    /// those in directories that are left out, and at most 1,000.
    pub paths: Vec<PathExplanation>,
    /// How much the snapshot would hold.
    pub total: Size,
    /// The largest directories, with all that is in them.
    pub largest_directories: Vec<(PathBuf, Size)>,
    /// The largest files, with their bytes.
    pub largest_files: Vec<(PathBuf, u64)>,
}

/// Why one path is in a snapshot or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathExplanation {
    /// The path, relative to the source.
    pub path: PathBuf,
    /// A snapshot would hold it.
    pub included: bool,
    /// What decides.
    pub reason: Reason,
    /// How Azure ML would decide otherwise, if it would.
    pub azure: Option<String>,
}

/// What decides on a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No rule speaks of it.
    NoRule,
    /// A rule ignores it or brings it back.
    Rule(Rule),
    /// It is in a directory that is left out, for a reason of its own.
    Inside {
        /// The directory.
        directory: PathBuf,
        /// Why that is left out.
        reason: Box<Reason>,
    },
    /// It belongs to git itself.
    Git,
    /// It is a directory in which this program keeps its state.
    StateDirectory,
    /// It is neither file, directory nor link.
    Special(SpecialKind),
    /// It is reached through a symbolic link, which is kept as a link.
    ThroughLink {
        /// The link.
        link: PathBuf,
    },
    /// There is no such path.
    Missing,
    /// It is not in the source directory.
    Outside,
}

/// One line of one ignore file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The ignore file, relative to the source.
    pub file: PathBuf,
    /// The number of the line, counted from 1.
    pub line: u32,
    /// The line without trailing spaces, in bytes.
    pub pattern: Vec<u8>,
}

impl From<RuleRef<'_>> for Rule {
    fn from(rule: RuleRef<'_>) -> Self {
        let file = rule.file().to_owned();
        Self { file, line: rule.line(), pattern: rule.pattern().to_owned() }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pattern = String::from_utf8_lossy(&self.pattern);
        write!(f, "{}:{}: {pattern}", self.file.display(), self.line)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRule => write!(f, "no rule matches"),
            Self::Rule(rule) => rule.fmt(f),
            Self::Inside { directory, reason } => {
                write!(f, "inside {}, {reason}", directory.display())
            }
            Self::Git => write!(f, ".git is always left out"),
            Self::StateDirectory => write!(f, "state of this program is always left out"),
            Self::Special(kind) => write!(f, "it is {kind}, not a file"),
            Self::ThroughLink { link } => {
                write!(f, "reached through {}, which is kept as a link", link.display())
            }
            Self::Missing => write!(f, "it does not exist"),
            Self::Outside => write!(f, "it is not in the source directory"),
        }
    }
}

/// Explains what a snapshot of `source` would hold, and why each of `paths` is in it or not.
///
/// `paths` are relative to the source or absolute. No snapshot is taken.
///
/// # Errors
///
/// As [`walk::list`].
pub fn explain(
    source: &Path,
    paths: &[PathBuf],
    options: &SnapshotOptions,
) -> Result<Explanation, SnapshotError> {
    let listing = walk::list(source, options)?;
    let mut judge = Judge::new(source, options)?;
    let mut sizes = Sizes::new(judge.rules().file_name());
    for file in &listing.files {
        sizes.add(&file.path, file.size);
    }
    let explained = if paths.is_empty() {
        judge.ignored(IGNORED)?
    } else {
        paths.iter().map(|path| judge.explain(path)).collect::<Result<_, _>>()?
    };
    let mut files: Vec<_> = listing.files.iter().filter(|file| file.size > 0).collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.size));
    let rules = judge.rules();
    Ok(Explanation {
        kind: rules.kind(),
        notes: rules.notes().to_vec(),
        paths: explained,
        total: sizes.total(),
        largest_directories: sizes.largest(LARGEST),
        largest_files: files
            .iter()
            .take(LARGEST)
            .map(|file| (PathBuf::from(OsStr::from_bytes(&file.path)), file.size))
            .collect(),
    })
}

#[cfg(test)]
mod tests;
