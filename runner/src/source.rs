//! A run's source, laid out where the script will work.

use std::io;
use std::num::NonZero;
use std::thread::available_parallelism;

use snapshots::digest::Digest;
use snapshots::materialize::{MaterializeError, materialize};
use snapshots::path_error::{IoContext, PathError};
use snapshots::store::StoreError;
use snapshots::store::local::LocalStore;

use crate::run_directory::RunDirectory;

/// Why a run's source cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The store has it not, or not whole.
    #[error("cannot lay out snapshot {snapshot}")]
    Snapshot {
        /// The snapshot.
        snapshot: Digest,
        /// Why.
        source: Box<MaterializeError>,
    },
    /// The source has something else where the script leaves its files.
    #[error("the source has {name:?}, which is not a directory; runs leave their files there")]
    NotADirectory {
        /// `outputs` or `logs`.
        name: &'static str,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file system said no.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Lays `snapshot` out in `work/` of `directory`, with `outputs/` and `logs/`. What an earlier
/// try left there goes first. Returns what the user should know.
///
/// # Errors
///
/// [`SourceError`]. Trying again begins anew.
pub fn lay_out(
    store: &LocalStore,
    snapshot: &Digest,
    directory: &RunDirectory,
) -> Result<Vec<String>, SourceError> {
    let work = directory.work();
    match std::fs::remove_dir_all(&work) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.context("remove", &work)?,
    }
    let threads = available_parallelism().map_or(1, NonZero::get);
    materialize(store, snapshot, &work, threads).map_err(|source| SourceError::Snapshot {
        snapshot: *snapshot,
        source: Box::new(source),
    })?;
    let mut warnings = Vec::new();
    for (name, path) in [("outputs", directory.outputs()), ("logs", directory.logs())] {
        match std::fs::create_dir(&path) {
            Ok(()) => continue,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => Err(error).context("create", &path)?,
        }
        if !path.symlink_metadata().context("examine", &path)?.is_dir() {
            return Err(SourceError::NotADirectory { name });
        }
        if std::fs::read_dir(&path).context("list", &path)?.next().is_some() {
            warnings.push(format!(
                "the source has files in {name}/; unchanged ones do not count as this run's own"
            ));
        }
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use snapshots::snapshot::{self, SnapshotOptions};

    use super::*;

    /// Lays out a source with these files.
    fn laid_out(files: &[&str]) -> (tempfile::TempDir, Result<Vec<String>, SourceError>) {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source");
        for file in files {
            let path = source.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        let store = LocalStore::open(&directory.path().join("store")).unwrap();
        let options = SnapshotOptions::default();
        let taken = snapshot::take(&source, &store, &options, &()).unwrap();
        let run = RunDirectory::new(directory.path().join("run"));
        std::fs::create_dir_all(run.work()).unwrap();
        std::fs::write(run.work().join("half"), "of an earlier try").unwrap();
        let warnings = lay_out(&store, &taken.record.id, &run);
        (directory, warnings)
    }

    #[test]
    fn a_source_with_old_outputs_or_logs_is_warned_of() {
        let (_directory, warnings) =
            laid_out(&["train.py", "outputs/old.pkl", "logs/old.txt", "outputs2/x"]);

        insta::assert_snapshot!(warnings.unwrap().join("\n"), @r"
        the source has files in outputs/; unchanged ones do not count as this run's own
        the source has files in logs/; unchanged ones do not count as this run's own
        ");
    }

    #[test]
    fn the_script_finds_its_directories_and_nothing_of_an_earlier_try() {
        let (directory, warnings) = laid_out(&["train.py"]);

        assert!(warnings.unwrap().is_empty());
        let work = directory.path().join("run/work");
        let entries = std::fs::read_dir(work).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["logs", "outputs", "train.py"]);
    }

    #[test]
    fn a_file_where_the_outputs_go_is_refused() {
        let (_directory, refused) = laid_out(&["train.py", "outputs"]);

        insta::assert_snapshot!(refused.unwrap_err(), @r#"the source has "outputs", which is not a directory; runs leave their files there"#);
    }
}
