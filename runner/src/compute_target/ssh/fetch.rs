//! Bringing home what a run left.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::FlockOperation;
use snapshots::digest::{Digest, Hasher};

use super::beneath::{self, Place};
use super::pool::Client;
use crate::outputs::{OutputFile, Outputs};
use crate::remote::client::RemoteError;
use crate::remote::message::{Base64Path, Done, Left, RefusalKind, Request};
use crate::run_directory::RunDirectory;
use crate::run_id::RunId;

/// Brings home what `left` lists and is not there. Returns what is at home then: files that have
/// changed meanwhile, as they do while the run is on, are left out with a note. Of a run that is
/// over, outputs go at home that came earlier and are not there any more; logs never do.
///
/// # Errors
///
/// [`RemoteError`]. What came is kept, and the next call goes on with it.
pub(super) fn fetch(
    run: &RunId,
    directory: &RunDirectory,
    left: Left,
    client: &mut Client,
) -> Result<Outputs, RemoteError> {
    let local = |source| RemoteError::Local { source };
    let work = directory.work();
    fs::create_dir_all(&work).map_err(local)?;
    // One at a time: two would write the same parts.
    let lock = File::open(&work).map_err(local)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(|error| local(error.into()))?;
    let mut came = false;
    let listed: HashSet<PathBuf> = left.files.iter().map(|file| file.path.clone()).collect();
    let mut outputs = Outputs { files: Vec::new(), notes: left.notes, whole: left.whole };
    for file in left.files {
        if !beneath::is_output(&file.path) {
            outputs.notes.push(format!("{:?} is no place for an output: left out", file.path));
            continue;
        }
        let place = Place::of(&work, &file.path).map_err(local)?;
        if is_there(&place, &file).map_err(local)? {
            outputs.files.push(file);
            continue;
        }
        let part = Part::of(directory, &file).map_err(local)?;
        match part.fetch(run, &file, client)? {
            Some(part) => {
                place.put(&part).map_err(local)?;
                came = true;
                outputs.files.push(file);
            }
            None => outputs.notes.push(format!("{:?} has changed meanwhile: left out", file.path)),
        }
    }
    if outputs.whole && directory.exit_json().exists() {
        came |= beneath::keep_only(&work, "outputs", &listed).map_err(local)?;
    }
    if came {
        // The machine may forget what is at home: that must survive a power cut.
        rustix::fs::syncfs(&lock).map_err(|error| local(error.into()))?;
    }
    // Where it still holds something, it stays.
    let _kept = fs::remove_dir(directory.temporary());
    Ok(outputs)
}

/// Says whether `file` is at home as it is on the machine.
fn is_there(place: &Place, file: &OutputFile) -> io::Result<bool> {
    let Some(mut open) = place.open()? else { return Ok(false) };
    if open.metadata()?.len() != file.size {
        return Ok(false);
    }
    let mut hasher = Hasher::new();
    hash(&mut open, &mut hasher)?;
    Ok(hasher.finish() == file.sha256)
}

fn hash(from: &mut dyn Read, hasher: &mut Hasher) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The beginning of a file, kept by what the whole is to be: one that changes on the machine begins
/// anew.
struct Part {
    path: PathBuf,
    file: File,
    hasher: Hasher,
    length: u64,
}

impl Part {
    fn of(directory: &RunDirectory, file: &OutputFile) -> io::Result<Self> {
        let parts = directory.temporary();
        fs::create_dir_all(&parts)?;
        let path = parts.join(format!("{}.part", file.sha256));
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let mut open = options.open(&path)?;
        let mut length = open.metadata()?.len();
        if length > file.size {
            open.set_len(0)?;
            length = 0;
        }
        let mut hasher = Hasher::new();
        hash(&mut open, &mut hasher)?;
        Ok(Self { path, file: open, hasher, length })
    }

    /// Fetches the rest and returns where the whole is; `None` when the file is another by now.
    fn fetch(
        mut self,
        run: &RunId,
        file: &OutputFile,
        client: &mut Client,
    ) -> Result<Option<PathBuf>, RemoteError> {
        if self.length < file.size {
            let path = Base64Path(STANDARD.encode(file.path.as_os_str().as_bytes()));
            let request = Request::Fetch { run: run.clone(), path, offset: self.length };
            let fetched = client.receive::<Done>(&request, &mut |_, bytes| self.take(file, bytes));
            match fetched {
                Ok(Done {}) => {}
                Err(RemoteError::Refused { refusal })
                    if matches!(refusal.kind, RefusalKind::Changed | RefusalKind::NotFound) =>
                {
                    self.remove();
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        let is_whole = self.length == file.size;
        let digest: Digest = std::mem::take(&mut self.hasher).finish();
        if !is_whole || digest != file.sha256 {
            self.remove();
            return Ok(None);
        }
        Ok(Some(self.path))
    }

    /// Takes what comes, up to where the file ended when it was listed.
    fn take(&mut self, file: &OutputFile, bytes: &[u8]) -> io::Result<()> {
        let left = usize::try_from(file.size - self.length).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(left)];
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = ?self.path, "A part of a file stays at home.");
        }
    }
}
