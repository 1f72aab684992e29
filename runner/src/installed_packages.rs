//! What is installed beside a Python, remembered for as long as nothing is installed or removed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use images::cache::{EnvironmentCache, EnvironmentError};
use images::environment::PreparedEnvironment;
use images::interpreter::{self, InterpreterError};

/// To ask takes a third of a second as a rule.
const LIMIT: Duration = Duration::from_secs(60);

/// Why it is not known what is installed.
#[derive(Debug, thiserror::Error)]
pub enum NoPackages {
    /// The Python does not say.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// The image does not, or what was built is gone.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
}

/// Remembers what each Python said.
#[derive(Debug, Default)]
pub struct InstalledPackages {
    known: Mutex<HashMap<Seen, Arc<[String]>>>,
}

/// A Python, and when its directories of packages last changed.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Seen {
    interpreter: PathBuf,
    changed: Vec<(PathBuf, SystemTime)>,
}

impl InstalledPackages {
    /// Returns what is installed in `environment`. Blocks, in an image for as long as a container
    /// takes.
    ///
    /// # Errors
    ///
    /// It cannot be asked.
    pub fn in_environment(
        &self,
        cache: &EnvironmentCache,
        environment: &PreparedEnvironment,
    ) -> Result<Arc<[String]>, NoPackages> {
        match (&environment.image, environment.key) {
            (Some(_), Some(key)) => Ok(cache.show(&key.to_string())?.packages.into()),
            (Some(image), None) => {
                let interpreter = environment.interpreter.to_string_lossy();
                Ok(cache.image_packages(image, &interpreter)?.into())
            }
            (None, _) => Ok(self.of(&environment.interpreter, &environment.prefix)?),
        }
    }

    /// Returns what `pip freeze` says of `interpreter`, whose `sys.prefix` is `prefix`. Blocks.
    ///
    /// # Errors
    ///
    /// It cannot be asked.
    fn of(&self, interpreter: &Path, prefix: &Path) -> Result<Arc<[String]>, InterpreterError> {
        let seen = Seen { interpreter: interpreter.to_owned(), changed: changed(prefix) };
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(packages) = known().get(&seen) {
            return Ok(Arc::clone(packages));
        }
        let packages: Arc<[String]> = interpreter::packages(interpreter, LIMIT)?.into();
        let mut known = known();
        known.retain(|other, _| other.interpreter != seen.interpreter);
        known.insert(seen, Arc::clone(&packages));
        Ok(packages)
    }
}

/// Installing and removing changes the time of the directory that packages are in.
fn changed(prefix: &Path) -> Vec<(PathBuf, SystemTime)> {
    let mut changed = Vec::new();
    for parent in [prefix.join("lib"), prefix.join("lib64")] {
        let Ok(entries) = std::fs::read_dir(&parent) else { continue };
        for entry in entries.flatten() {
            for name in ["site-packages", "dist-packages"] {
                let directory = entry.path().join(name);
                if let Ok(time) = directory.metadata().and_then(|found| found.modified()) {
                    changed.push((directory, time));
                }
            }
        }
    }
    changed.sort();
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installing_something_is_noticed() {
        let prefix = tempfile::tempdir().unwrap();
        let packages = prefix.path().join("lib/python3.11/site-packages");
        std::fs::create_dir_all(&packages).unwrap();
        let before = changed(prefix.path());
        assert_eq!(before.len(), 1);

        let past = SystemTime::now() - Duration::from_secs(60);
        std::fs::File::open(&packages).unwrap().set_modified(past).unwrap();
        let other = changed(prefix.path());
        std::fs::create_dir(packages.join("numpy")).unwrap();

        assert_ne!(changed(prefix.path()), other);
    }
}
