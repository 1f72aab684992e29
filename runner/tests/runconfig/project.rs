//! Run configurations in a directory of their own, and what came of them as text.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use runner::run_configuration::{ConfigurationError, Loaded, RunConfiguration, load, not_yet};

/// A project directory with a run configuration in it.
pub(crate) struct Project {
    pub(crate) directory: tempfile::TempDir,
}

impl Project {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn file(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn load(&self, text: impl AsRef<[u8]>) -> Result<Loaded, ConfigurationError> {
        load(&self.file(".azureml/test.runconfig", text))
    }
}

pub(crate) fn loaded(text: impl AsRef<[u8]>) -> Loaded {
    Project::new().load(text).unwrap()
}

/// Returns an error with its causes, as a command line prints them.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        write!(text, "\n{cause}").unwrap();
        source = cause.source();
    }
    text
}

pub(crate) fn problem(text: impl AsRef<[u8]>) -> String {
    let project = Project::new();
    let error = project.load(text).unwrap_err();
    chain(&error).replace(project.directory.path().to_str().unwrap(), "DIR")
}

/// Prints what differs from an empty configuration, the notes, and what is refused.
pub(crate) fn described(loaded: &Loaded, root: &Path) -> String {
    let empty = serde_json::to_value(RunConfiguration::default()).unwrap();
    let all = serde_json::to_value(&loaded.configuration).unwrap();
    let mut text = String::new();
    for (key, value) in all.as_object().unwrap() {
        if empty[key] != *value {
            writeln!(text, "{key}: {value}").unwrap();
        }
    }
    if let Some(directory) = &loaded.source_directory {
        writeln!(text, "source: {}", directory.display()).unwrap();
    }
    for note in &loaded.notes {
        writeln!(text, "note: {note}").unwrap();
    }
    if let Err(refused) = not_yet(&loaded.configuration) {
        writeln!(text, "refused: {refused}\nhint: {}", refused.hint()).unwrap();
    }
    text.replace(root.to_str().unwrap(), "ROOT")
}
