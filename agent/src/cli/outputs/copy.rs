//! Copying a run's files.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use snapshots::digest::Hasher;
use snapshots::path_error::{IoContext, PathError};

use crate::api::wire::run::{OutputFile, Run};
use crate::cli::{Context, Failure};
use crate::client::Client;
use crate::terminal::{Progress, measure};

/// Copies all files of `run`, or of that attempt of it, into `destination` and returns how many
/// bytes that were. Each file is checked against its digest; one that is there already is left
/// alone unless `force` is given.
///
/// # Errors
///
/// A file is in the way, or cannot be had or written. Files that were copied before stay.
pub(super) fn copy(
    context: &Context,
    client: &Client,
    (run, attempt): (&Run, Option<u32>),
    destination: &Path,
    force: bool,
) -> Result<u64, Failure> {
    let mut places = Vec::new();
    for file in &run.output_files {
        let place = destination.join(inside(&file.path_bytes())?);
        if !force && place.symlink_metadata().is_ok() {
            return Err(Failure::usage(format!("{} exists", place.display()))
                .hint("--force overwrites; nothing was copied"));
        }
        places.push((file, place));
    }
    let total: u64 = run.output_files.iter().map(|file| file.size).sum();
    let bar = Progress::new(&context.terminal, "Copying");
    let mut done = 0;
    for (file, place) in places {
        let each = |bytes: u64| {
            bar.set(|| format!("{} of {}", measure::size(done + bytes), measure::size(total)));
        };
        let id = &run.summary.run_id;
        done += context.wait_for(copy_one(client, (id, attempt), file, &place, each))?;
    }
    Ok(done)
}

/// Takes a path that a run names, which must not lead out of where it is put.
fn inside(path: &[u8]) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(OsStr::from_bytes(path));
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if is_plain && path.components().next().is_some() {
        return Ok(path);
    }
    Err(Failure::failed(format!("the run names a file {path:?}, which leads elsewhere")))
}

async fn copy_one(
    client: &Client,
    (run, attempt): (&str, Option<u32>),
    file: &OutputFile,
    place: &Path,
    progress: impl Fn(u64),
) -> Result<u64, Failure> {
    let directory = place.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(directory).context("create", directory).map_err(Failure::failed)?;
    let mut answer = client.file(run, attempt, &file.path_bytes()).await?;
    let partial = Partial::create(place).map_err(Failure::failed)?;
    let (mut hasher, mut bytes) = (Hasher::new(), 0u64);
    while let Some(chunk) = answer.chunk().await.map_err(Failure::failed)? {
        hasher.update(&chunk);
        partial.write(&chunk).map_err(Failure::failed)?;
        bytes += chunk.len() as u64;
        progress(bytes);
    }
    if hasher.finish().to_string() != file.sha256 {
        return Err(Failure::failed(format!(
            "{} is not what the run left: it was changed",
            file.path
        ))
        .hint(format!("the run has it with SHA-256 {}", file.sha256)));
    }
    partial.keep(place).map_err(Failure::failed)?;
    Ok(bytes)
}

/// A file under a name of its own until it is whole.
struct Partial {
    file: File,
    path: Option<PathBuf>,
}

impl Partial {
    fn create(place: &Path) -> Result<Self, PathError> {
        // Not the file's name and more: that may be as long as a name can be.
        let path = place.with_file_name(format!(".{:08x}.part", rand::random::<u32>()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&path)
            .context("create", &path)?;
        Ok(Self { file, path: Some(path) })
    }

    fn write(&self, bytes: &[u8]) -> Result<(), PathError> {
        let path = self.path.as_deref().unwrap_or_else(|| Path::new(""));
        (&self.file).write_all(bytes).context("write", path)
    }

    fn keep(mut self, place: &Path) -> Result<(), PathError> {
        let Some(path) = self.path.take() else { return Ok(()) };
        let kept: io::Result<()> = std::fs::rename(&path, place);
        kept.context("create", place)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            // What cannot be removed has a name that tells what it is.
            std::fs::remove_file(path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_cannot_name_a_file_elsewhere() {
        assert_eq!(inside(b"outputs/a/model.pkl").unwrap(), Path::new("outputs/a/model.pkl"));
        for bad in ["", "/etc/passwd", "../x", "outputs/../../x", "./x"] {
            assert!(inside(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_that_is_not_whole_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("model.pkl");
        let partial = Partial::create(&place).unwrap();
        partial.write(b"half").unwrap();
        drop(partial);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

        let whole = Partial::create(&place).unwrap();
        whole.write(b"whole").unwrap();
        whole.keep(&place).unwrap();
        assert_eq!(std::fs::read(&place).unwrap(), b"whole");
    }

    #[test]
    fn a_name_may_be_as_long_as_names_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("x".repeat(255));
        Partial::create(&place).unwrap().keep(&place).unwrap();
        assert!(place.exists());
    }
}
