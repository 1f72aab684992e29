//! What is installed beside a run's Python, asked for while the run is on.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use images::interpreter::{self, InterpreterError};

/// To ask takes a third of a second as a rule.
const LIMIT: Duration = Duration::from_secs(60);

/// Remembers what each Python said, for as long as nothing is installed or removed.
#[derive(Debug, Default)]
pub(crate) struct Packages(Mutex<HashMap<Seen, Arc<[String]>>>);

/// A Python, and when its directories of packages last changed.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Seen {
    interpreter: PathBuf,
    changed: Vec<(PathBuf, SystemTime)>,
}

impl Packages {
    /// Returns what `pip freeze` says of `interpreter`, whose `sys.prefix` is `prefix`. Blocks.
    ///
    /// # Errors
    ///
    /// It cannot be asked.
    pub(crate) fn of(
        &self,
        interpreter: &Path,
        prefix: &Path,
    ) -> Result<Arc<[String]>, InterpreterError> {
        let seen = Seen { interpreter: interpreter.to_owned(), changed: changed(prefix) };
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
