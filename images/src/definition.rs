//! Environment definitions, as users have them on disk.

pub mod conda_file;
pub mod curated;
pub mod dockerfile;
pub mod requirements;
pub mod uv_project;

use std::fmt;
use std::path::PathBuf;

use snapshots::path_error::PathError;

use crate::yaml::Problem;

/// A line of a definition, for people to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} line {}", self.file, self.line)
    }
}

/// Why a definition cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The file itself is not there.
    #[error("requirements file {path:?} does not exist")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file that another one names is not there.
    #[error("{place} names {file:?}, which does not exist")]
    MissingInclude {
        /// The file that is named.
        file: String,
        /// Where it is named.
        place: Place,
    },
    /// A file leads back to itself.
    #[error("{place} names {file:?}, which leads back to that line")]
    Cycle {
        /// The file that is named.
        file: String,
        /// Where it is named.
        place: Place,
    },
    /// It is a directory, a pipe, a device.
    #[error("requirements file {path:?} is not a regular file")]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// A file is too large to be what it should be.
    #[error("requirements file {path:?} is over the limit of {limit_bytes} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit_bytes: u64,
    },
    /// The files are too many.
    #[error("requirements file {file:?} leads to more than {limit} files")]
    TooMany {
        /// The first file.
        file: String,
        /// The limit.
        limit: usize,
    },
    /// Only UTF-8 is read.
    #[error("requirements file {path:?} is not UTF-8 text")]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] PathError),
    /// Something pip knows is not served yet.
    #[error("{place}: {what} is not supported yet")]
    NotYet {
        /// As "an editable requirement".
        what: &'static str,
        /// Where it is.
        place: Place,
    },
    /// An option that requirements files do not have.
    #[error("{place}: {option:?} is not an option of requirements files")]
    UnknownOption {
        /// The option, without its value.
        option: String,
        /// Where it is.
        place: Place,
    },
    /// An option that needs one value has none, or several.
    #[error("{place}: {option:?} needs one value, on a line of its own")]
    OptionValue {
        /// The option.
        option: String,
        /// Where it is.
        place: Place,
    },
    /// A quotation mark without its partner, or a control character.
    #[error("{place}: the line cannot be understood")]
    Malformed {
        /// Where it is.
        place: Place,
    },
    /// A URL carries a password or a token.
    #[error("{place}: the URL carries credentials, which would be stored with every run")]
    Credentials {
        /// Where it is. The URL itself is not repeated.
        place: Place,
    },
    /// A conda file cannot be read.
    #[error("conda file {path:?} {why}")]
    CondaFile {
        /// The file.
        path: PathBuf,
        /// As "does not exist".
        why: &'static str,
    },
    /// What a conda file says makes no sense.
    #[error("cannot use conda file {file:?}")]
    Conda {
        /// The file, as it was named.
        file: String,
        /// What is wrong, and where.
        source: Box<Problem>,
    },
    /// A channel is relative to a directory that is not known.
    #[error("{place}: channel {channel:?} is relative, and the file has no directory")]
    RelativeChannel {
        /// The channel.
        channel: String,
        /// Where it is named.
        place: Place,
    },
    /// A Dockerfile cannot be built as it is.
    #[error("{place}: {message}")]
    Dockerfile {
        /// The line.
        place: Place,
        /// What is wrong with it.
        message: String,
    },
    /// A file of a Python project cannot be read.
    #[error("project file {path:?} {why}")]
    ProjectFile {
        /// The file.
        path: PathBuf,
        /// As "does not exist".
        why: &'static str,
    },
    /// A Python project cannot be built as it is.
    #[error("{file}: {message}")]
    Project {
        /// `pyproject.toml` or `uv.lock`.
        file: &'static str,
        /// What is wrong with it.
        message: String,
        /// What to do, or nothing.
        hint: &'static str,
    },
    /// There is no file at all.
    #[error("an environment of requirements needs at least one file")]
    Empty,
}

impl DefinitionError {
    /// Returns what to do next, for the command line to print after the error.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Credentials { .. } => {
                "Write ${NAME} in place of the secret and set that variable where the agent runs, \
                 or use a netrc file."
            }
            Self::NotYet { .. } => {
                "Put the code into the source directory, or install it from an index or an \
                 https:// URL."
            }
            Self::CondaFile { .. } => {
                "It is a text as conda env export writes it: conda.yml or environment.yml."
            }
            Self::Project { hint, .. } if !hint.is_empty() => hint,
            Self::ProjectFile { .. } => "A project is a pyproject.toml, with uv.lock beside it.",
            Self::RelativeChannel { .. } => "Write the channel as an absolute path.",
            Self::NotUtf8 { .. } => "Save the file as UTF-8.",
            Self::MissingInclude { .. } => {
                "Paths are relative to the directory of the file that names them."
            }
            _ => return None,
        })
    }
}
