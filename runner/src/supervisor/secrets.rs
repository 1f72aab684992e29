//! The run's secrets: read once, gone from the disk before the script starts.

use std::collections::BTreeMap;
use std::fmt;

use snapshots::path_error::PathError;

use crate::durable_file;
use crate::run_directory::RunDirectory;

/// Names and values of secrets. `Debug` shows the names only.
#[derive(Clone, Default)]
pub(crate) struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// Reads `secrets.json` of `run` and removes it; no file means no secrets.
    ///
    /// The file is removed even when it cannot be understood.
    pub(crate) fn take(run: &RunDirectory) -> Result<Self, PathError> {
        let read = durable_file::read_json(&run.secrets_json());
        run.forget_secrets()?;
        Ok(Self(read?.unwrap_or_default()))
    }

    /// Returns the value of the secret `name`.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns what must not be seen in the log.
    pub(crate) fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.0.values().map(String::as_bytes)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn secrets_are_read_once_and_do_not_print() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(directory.path());
        fs::write(run.secrets_json(), r#"{"TOKEN":"hunter2"}"#).unwrap();

        let secrets = Secrets::take(&run).unwrap();

        assert_eq!(secrets.value("TOKEN"), Some("hunter2"));
        assert_eq!(format!("{secrets:?}"), r#"{"TOKEN"}"#);
        assert!(!run.secrets_json().exists());
        assert_eq!(Secrets::take(&run).unwrap().value("TOKEN"), None);
    }

    #[test]
    fn secrets_that_cannot_be_understood_are_removed_too() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(directory.path());
        fs::write(run.secrets_json(), "hunter2").unwrap();

        let error = Secrets::take(&run).unwrap_err();

        assert!(error.to_string().starts_with("cannot understand "), "{error}");
        assert!(!run.secrets_json().exists());
    }
}
