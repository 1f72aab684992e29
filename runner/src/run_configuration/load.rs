//! Reading a file, in whichever of the formats it is.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::reading::{Document, Spelling, plain_name};
use super::{ConfigurationError, Note, RunConfiguration, command_job_v2, runconfig_v1, yaml};

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
    let document = read_document(path, path)?;
    if is_command_job(&document) {
        command_job_v2::read(&document)
    } else {
        runconfig_v1::read(&document)
    }
}

/// Reads the YAML file at `path` within the limits; messages name it `named`.
pub(super) fn read_document(path: &Path, named: &Path) -> Result<Document, ConfigurationError> {
    let named = named.to_owned();
    let read = |source| ConfigurationError::Read { path: named.clone(), source };
    let path = std::path::absolute(path).map_err(read)?;
    // Opening a pipe would wait for its other end, so what it is comes first.
    if !std::fs::metadata(&path).map_err(read)?.is_file() {
        return Err(ConfigurationError::NotAFile { path: named });
    }
    let limit_bytes = yaml::MAX_BYTES as u64;
    let mut bytes = Vec::new();
    File::open(&path).map_err(read)?.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(read)?;
    if bytes.len() > yaml::MAX_BYTES {
        return Err(ConfigurationError::TooLarge { path: named, limit_bytes });
    }
    match yaml::parse(&bytes) {
        Ok(root) => {
            let text = String::from_utf8_lossy(&bytes).trim_start_matches('\u{feff}').to_owned();
            Ok(Document { named, path, text, root })
        }
        Err(source) => Err(ConfigurationError::Content { path: named, source: Box::new(source) }),
    }
}

/// Tells a v2 command job from a v1 run configuration.
///
/// `type` and `$schema` are v2's alone. Without them, what v1 has and v2 has not decides, and then
/// `command`, which in v1 comes with all the rest.
fn is_command_job(document: &Document) -> bool {
    const ONLY_V1: [&str; 8] = [
        "script",
        "arguments",
        "argumentvector",
        "target",
        "framework",
        "history",
        "nodecount",
        "maxrundurationseconds",
    ];
    if document.path.extension().is_some_and(|extension| extension == "runconfig") {
        return false;
    }
    let keys: Vec<&str> = document
        .root
        .entries()
        .unwrap_or_default()
        .iter()
        .filter_map(|(key, _)| key.text())
        .collect();
    let has = |wanted: &str| keys.contains(&wanted);
    if has("type") || has("$schema") {
        return true;
    }
    let v1 = |key: &&str| ONLY_V1.contains(&plain_name(key, Spelling::Any).as_str());
    !keys.iter().any(v1) && has("command")
}
