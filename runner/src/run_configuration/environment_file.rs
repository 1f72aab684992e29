//! Files that define an environment alone: those of both SDKs, told from conda files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::load::read_document;
use super::reading::{Document, Spelling, plain_name};
use super::{
    CondaChoice, ConfigurationError, EnvironmentChoice, Note, command_job_v2, runconfig_v1,
};
use crate::container::ContainerOptions;

/// The file that SDK v1 saves an environment in, in a folder with its conda file and Dockerfile.
pub const SAVED_ENVIRONMENT: &str = "azureml_environment.json";

/// An environment as a file of its own gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedEnvironment {
    /// What it is.
    pub choice: EnvironmentChoice,
    /// What is asked of its container, if it is one.
    pub container: ContainerOptions,
    /// Variables that its scripts get.
    pub variables: BTreeMap<String, String>,
    /// What is to be said about the file.
    pub notes: Vec<Note>,
}

/// Reads an environment file: SDK v1's `azureml_environment.json`, or the folder it is in, its
/// `environment.yml`, a v2 environment YAML, or a conda file, told apart by what is in them.
///
/// # Errors
///
/// The file cannot be read or makes no sense. What is in a conda file is not looked at.
pub fn load_environment(path: &Path) -> Result<LoadedEnvironment, ConfigurationError> {
    let path = if path.is_dir() { path.join(SAVED_ENVIRONMENT) } else { path.to_owned() };
    let document = read_document(&path, &path)?;
    match kind(&document) {
        Kind::V1 => runconfig_v1::read_environment(&document),
        Kind::V2 => command_job_v2::read_environment(&document),
        Kind::Conda => Ok(conda(path)),
    }
}

fn conda(path: PathBuf) -> LoadedEnvironment {
    LoadedEnvironment {
        choice: EnvironmentChoice::Conda(CondaChoice::File(path)),
        container: ContainerOptions::default(),
        variables: BTreeMap::new(),
        notes: Vec::new(),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    V1,
    V2,
    Conda,
}

/// Tells what a file is by its keys. What is neither SDK's is for the reader of conda files to
/// judge.
fn kind(document: &Document) -> Kind {
    const ONLY_CONDA: [&str; 3] = ["dependencies", "channels", "prefix"];
    const ONLY_V1: [&str; 5] =
        ["python", "docker", "environmentvariables", "databricks", "inferencingstackversion"];
    const ONLY_V2: [&str; 4] = ["image", "conda_file", "build", "$schema"];
    let entries = document.root.entries().unwrap_or_default();
    let keys: Vec<&str> = entries.iter().filter_map(|(key, _)| key.text()).collect();
    let v1 = |key: &&str| ONLY_V1.contains(&plain_name(key, Spelling::Any).as_str());
    if keys.iter().any(|key| ONLY_CONDA.contains(key)) {
        Kind::Conda
    } else if keys.iter().any(v1) || document.path.ends_with(SAVED_ENVIRONMENT) {
        Kind::V1
    } else if keys.iter().any(|key| ONLY_V2.contains(key)) {
        Kind::V2
    } else {
        Kind::Conda
    }
}
