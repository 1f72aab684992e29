//! What a run left in outputs/ and logs/, without following a link.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use snapshots::digest::Digest;
use snapshots::path_error::PathError;

use crate::run_directory::RunDirectory;

/// A file that a run left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Where it is, relative to `work/`: `outputs/model.pkl`. Names are bytes; one that is not
    /// UTF-8 is a list of numbers in JSON.
    #[serde(with = "path_bytes")]
    pub path: PathBuf,
    /// How many bytes it holds.
    pub size: u64,
    /// What they are.
    pub sha256: Digest,
}

/// All that a run left, sorted by path, with what was passed over and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// The files.
    pub files: Vec<OutputFile>,
    /// One sentence for each thing that was passed over.
    pub notes: Vec<String>,
}

/// How much is collected at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// Default: 100,000 files.
    pub max_files: usize,
    /// Default: 1 TiB, by length.
    pub max_bytes: u64,
    /// Default: 64 directories deep.
    pub max_depth: usize,
}

impl Default for OutputLimits {
    fn default() -> Self {
        Self { max_files: 100_000, max_bytes: 1 << 40, max_depth: 64 }
    }
}

/// Lists and hashes what is in `outputs/` and `logs/` of `run`. Only when its processes are gone.
///
/// Regular files with one name only; links, FIFOs, sockets, devices and other file systems are
/// passed over with a note, never followed or opened for good. `in_snapshot` returns the digest
/// of the file that the snapshot had at that path (relative to `work/`): one that is unchanged
/// is not an output.
///
/// # Errors
///
/// When the directories cannot be read.
pub fn collect(
    run: &RunDirectory,
    limits: &OutputLimits,
    in_snapshot: &dyn Fn(&[u8]) -> Option<Digest>,
) -> Result<Outputs, PathError> {
    todo!("{run:?} {limits:?} {:?}", in_snapshot(b""))
}

mod path_bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Name {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => to.serialize_str(text),
            None => path.as_os_str().as_bytes().serialize(to),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(match Name::deserialize(from)? {
            Name::Text(text) => text.into(),
            Name::Bytes(bytes) => OsString::from_vec(bytes).into(),
        })
    }
}
