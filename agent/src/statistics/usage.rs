//! What the store and the environments take on the disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// To look costs a call a file, and is asked for every few seconds.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// What was found when it was last looked.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage(Arc<Mutex<Option<Found>>>);

/// When it was looked, and the bytes of objects and of environments.
type Found = (Instant, (u64, u64));

impl Usage {
    /// Returns how many bytes the directories of objects, and that of environments, take, as it was a
    /// minute ago at most. Blocks.
    pub(super) fn of(&self, objects: &[PathBuf], environments: &Path) -> (u64, u64) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some((looked, found)) if looked.elapsed() < GOOD_FOR => found,
            _ => {
                let stores = objects.iter().map(|directory| bytes_under(directory)).sum();
                let found = (stores, bytes_under(environments));
                *last = Some((Instant::now(), found));
                found
            }
        }
    }
}

/// Adds up the blocks of all that is under `directory`; a file of several names counts once for
/// each of them, and no link is followed. What goes meanwhile is not there.
pub(crate) fn bytes_under(directory: &Path) -> u64 {
    let mut bytes = 0;
    let mut rest = vec![directory.to_owned()];
    while let Some(directory) = rest.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            bytes += found.blocks() * 512;
            if found.is_dir() {
                rest.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_count_and_what_links_lead_to_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("a/b");
        fs::create_dir_all(&inside).unwrap();
        let empty = bytes_under(directory.path());
        fs::write(inside.join("file"), vec![1; 100_000]).unwrap();
        std::os::unix::fs::symlink("/usr", inside.join("link")).unwrap();

        let taken = bytes_under(directory.path()) - empty;

        assert!((100_000..200_000).contains(&taken), "{taken}");
        assert_eq!(bytes_under(Path::new("/nonexistent")), 0);
    }
}
