//! Why a run configuration file could not be read.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a run configuration file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The file, or one it names, cannot be read.
    #[error("cannot read run configuration {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// It is a directory, a pipe or a device.
    #[error("run configuration {path:?} is not a file")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// It is larger than any such file.
    #[error("run configuration {path:?} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit_bytes: u64,
    },
    /// What it says makes no sense.
    #[error("cannot use run configuration {path:?}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: Box<Problem>,
    },
}

impl ConfigurationError {
    /// Returns one sentence on what to do next.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("Name the file with its path, as in -c .azureml/local.runconfig.")
            }
            Self::TooLarge { .. } | Self::NotAFile { .. } => {
                Some("-c takes a .runconfig file or a v2 command job.")
            }
            Self::Read { .. } | Self::Content { .. } => None,
        }
    }
}

/// What is wrong in a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What is wrong there.
    pub text: String,
    /// The line itself, cut to a readable length, with nothing in it that moves a cursor.
    pub snippet: String,
}

impl Problem {
    /// How much of a line is shown, in characters to either side of the column.
    const SHOWN: usize = 60;

    /// Describes `text` as wrong at a place in `document`.
    pub(crate) fn at(document: &str, line: usize, column: usize, text: impl Into<String>) -> Self {
        let whole = document.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let from = column.saturating_sub(Self::SHOWN);
        let snippet = whole.chars().skip(from).take(2 * Self::SHOWN).map(printable).collect();
        Self { line, column, text: text.into(), snippet }
    }
}

fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        // Marks that turn the direction of writing could make a line read as another.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c => c,
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.text)?;
        if self.snippet.is_empty() {
            return Ok(());
        }
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let before = self.column.saturating_sub(self.column.saturating_sub(Self::SHOWN) + 1);
        write!(f, "\n  {number} | {}\n  {gutter} | {}^", self.snippet, " ".repeat(before))
    }
}

impl std::error::Error for Problem {}
