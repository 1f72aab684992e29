//! What is odd about a snapshot without keeping it from being taken.

use std::fmt;
use std::path::PathBuf;

use crate::ignore_rules::IgnoreNote;
use crate::limits::{LimitError, LimitWarning};

/// Something about a snapshot that may surprise. Its text is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Something that is neither file, directory nor link was left out.
    SpecialFile {
        /// Where, relative to the source.
        path: PathBuf,
        /// What it is.
        kind: SpecialKind,
    },
    /// A file looks like a secret by its name.
    Secret {
        /// Where, relative to the source.
        path: PathBuf,
    },
    /// The snapshot is larger than Azure ML would take.
    Limit(LimitWarning),
    /// A snapshot of what is listed would be refused.
    Refused(LimitError),
    /// Something about the ignore files.
    Ignore(IgnoreNote),
}

/// What has a name in a directory but no content that could be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialKind {
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block or character device.
    Device,
    /// Something not known here.
    Other,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SpecialFile { path, kind } => {
                write!(f, "{path:?} is left out: it is {kind}, not a file")
            }
            Self::Secret { path } => {
                write!(f, "{path:?} looks like a secret and is part of the snapshot")
            }
            Self::Limit(warning) => warning.fmt(f),
            Self::Refused(error) => error.fmt(f),
            Self::Ignore(note) => note.fmt(f),
        }
    }
}

impl fmt::Display for SpecialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fifo => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
            Self::Other => "something else",
        })
    }
}
