//! Reading a file, in whichever of the formats it is.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::reading::{Document, Spelling, plain_name, without_password};
use super::runconfig_v1::SETTINGS_DIRECTORIES;
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
/// A bare name that is no file here is looked for as the SDK does: in `aml_config/` or
/// `.azureml/` of the current directory, with `.runconfig` after it or without.
///
/// # Errors
///
/// The file cannot be read or makes no sense. What it asks for and cannot be had is not an error
/// here: [`not_yet`](fn@super::not_yet) says so once the flags are known.
pub fn load(path: &Path) -> Result<Loaded, ConfigurationError> {
    let path = find(path, Path::new(""));
    let document = read_document(&path, &path)?;
    if is_command_job(&document) {
        command_job_v2::read(&document)
    } else {
        runconfig_v1::read(&document)
    }
}

/// Returns the file that `given` names in `project`, or `given` itself if there is none.
fn find(given: &Path, project: &Path) -> PathBuf {
    let bare = given.file_name().is_some_and(|name| name == given.as_os_str());
    if !bare || project.join(given).exists() {
        return project.join(given);
    }
    let mut long = given.as_os_str().to_owned();
    long.push(".runconfig");
    let [newer, older] = SETTINGS_DIRECTORIES.map(|name| project.join(name));
    let places =
        if older.is_dir() { [older, project.to_owned()] } else { [newer, project.to_owned()] };
    let candidates = places.iter().flat_map(|place| [place.join(given), place.join(&long)]);
    candidates.into_iter().find(|path| path.is_file()).unwrap_or_else(|| project.join(given))
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
    let text = String::from_utf8_lossy(&bytes).trim_start_matches('\u{feff}').to_owned();
    match yaml::parse(&bytes) {
        Ok(root) => Ok(Document { named, path, text, root }),
        Err(problem) => {
            let source = Box::new(without_password(problem, &text));
            Err(ConfigurationError::Content { path: named, source })
        }
    }
}

/// Tells a v2 command job from a v1 run configuration.
///
/// `type` and `$schema` are v2's alone. Without them, what v1 has and v2 has not decides, and then
/// what v2 has; `command` is in both, but in v1 it comes with all the rest.
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
    const OF_V2: [&str; 6] = ["command", "code", "compute", "inputs", "outputs", "limits"];
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
    !keys.iter().any(v1) && OF_V2.into_iter().any(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_looked_for_as_the_sdk_does() {
        let project = tempfile::tempdir().unwrap();
        let found = |given: &str| {
            let path = find(Path::new(given), project.path());
            path.strip_prefix(project.path()).unwrap().to_str().unwrap().to_owned()
        };
        let make = |path: &str| {
            let path = project.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };

        assert_eq!(found("local"), "local");
        make("local.runconfig");
        assert_eq!(found("local"), "local.runconfig");
        make(".azureml/local.runconfig");
        assert_eq!(found("local"), ".azureml/local.runconfig");
        make(".azureml/local");
        assert_eq!(found("local"), ".azureml/local");
        // What has a folder in its name is that file and no other.
        assert_eq!(found("./local"), "local");
        make("aml_config/local");
        assert_eq!(found("local"), "aml_config/local");
        make("local");
        assert_eq!(found("local"), "local");
    }
}
