//! What a run left in outputs/ and logs/, without following a link.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use snapshots::digest::{Digest, Hasher};
use snapshots::path_error::{IoContext as _, PathError};

use crate::run_directory::RunDirectory;

#[cfg(test)]
mod tests;

/// A file that a run left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Where it is, relative to `work/`: `outputs/model.pkl`. Names are bytes; one that is not
    /// UTF-8 is a list of numbers in JSON.
    #[serde(with = "path_bytes")]
    pub path: PathBuf,
    /// How many bytes it holds.
    pub size: u64,
    /// What they are.
    pub sha256: Digest,
}

/// All that a run left, sorted by path, with what was passed over and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// The files.
    pub files: Vec<OutputFile>,
    /// One sentence for each thing that was passed over.
    pub notes: Vec<String>,
    /// Whether no file may be there that neither names: what they leave out is gone.
    pub whole: bool,
}

/// How much is collected at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// Default: 100,000 files.
    pub max_files: usize,
    /// Default: 1 TiB, by length.
    pub max_bytes: u64,
    /// Default: 64 directories deep.
    pub max_depth: usize,
    /// Default: 1,000,000 names, of whatever kind, that are looked at.
    pub max_names: usize,
    /// Default: 100 things that are passed over are named, the others counted.
    pub max_notes: usize,
}

impl Default for OutputLimits {
    fn default() -> Self {
        Self {
            max_files: 100_000,
            max_bytes: 1 << 40,
            max_depth: 64,
            max_names: 1_000_000,
            max_notes: 100,
        }
    }
}

/// Lists and hashes what is in `outputs/` and `logs/` of `run`. Only when its processes are gone.
///
/// Regular files with one name only; links, FIFOs, sockets, devices and other file systems are
/// passed over with a note, never followed or opened for good. `in_snapshot` returns the digest
/// of the file that the snapshot had at that path (relative to `work/`): one that is unchanged
/// is not an output.
///
/// # Errors
///
/// When the directories cannot be read.
pub fn collect(
    run: &RunDirectory,
    limits: &OutputLimits,
    in_snapshot: &dyn Fn(&[u8]) -> Option<Digest>,
) -> Result<Outputs, PathError> {
    let found = Outputs { whole: true, ..Outputs::default() };
    let mut collector =
        Collector { limits, in_snapshot, found, bytes: 0, names: 0, unnamed: 0, full: false };
    let work = open(CWD, &run.work(), OFlags::DIRECTORY, ResolveFlags::empty())
        .context("open", run.work())?;
    for name in ["outputs", "logs"] {
        collector.entry(&work, OsStr::new(name), Path::new(""), 0)?;
    }
    Ok(collector.finish())
}

struct Collector<'a> {
    limits: &'a OutputLimits,
    in_snapshot: &'a dyn Fn(&[u8]) -> Option<Digest>,
    found: Outputs,
    bytes: u64,
    /// How many names were looked at.
    names: usize,
    /// How many things were passed over without a note of their own.
    unnamed: usize,
    full: bool,
}

impl Collector<'_> {
    /// Takes up what is called `name` in `parent`, whose path is `above`.
    fn entry(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        above: &Path,
        depth: usize,
    ) -> Result<(), PathError> {
        let path = above.join(name);
        // Looked at before it is opened: opening a device or a FIFO does something.
        let before = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error).context("look at", path),
        };
        match FileType::from_raw_mode(before.st_mode) {
            FileType::Directory if depth >= self.limits.max_depth => {
                self.note_unseen(&path, "is too deep inside");
            }
            FileType::Directory => {
                if let Some((directory, _)) = self.open_same(parent, name, &path, &before)? {
                    self.directory(&directory, &path, depth)?;
                }
            }
            FileType::RegularFile if before.st_nlink > 1 => {
                self.note(&path, "has other names (hard links)");
            }
            FileType::RegularFile => {
                if let Some((file, now)) = self.open_same(parent, name, &path, &before)? {
                    self.file(file, &path, u64::try_from(now.st_size).unwrap_or(0))?;
                }
            }
            FileType::Symlink => self.note(&path, "is a symbolic link"),
            FileType::Fifo => self.note(&path, "is a FIFO"),
            FileType::Socket => self.note(&path, "is a socket"),
            _ => self.note(&path, "is a device"),
        }
        Ok(())
    }

    fn directory(&mut self, open: &OwnedFd, path: &Path, depth: usize) -> Result<(), PathError> {
        let mut names: Vec<OsString> = Vec::new();
        for entry in Dir::read_from(open).context("list", path)? {
            let entry = entry.context("list", path)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            // Before they are sorted: a script may leave more than memory holds.
            if self.names == self.limits.max_names {
                self.full = true;
                let what = format!("holds names over the limit of {}", self.names);
                self.note_unseen(path, &what);
                return Ok(());
            }
            self.names += 1;
            names.push(OsStr::from_bytes(name).to_owned());
        }
        names.sort_unstable();
        for name in names {
            if self.full {
                break;
            }
            self.entry(open, &name, path, depth + 1)?;
        }
        Ok(())
    }

    fn file(&mut self, open: OwnedFd, path: &Path, size: u64) -> Result<(), PathError> {
        let over_bytes = self.bytes.saturating_add(size) > self.limits.max_bytes;
        if over_bytes || self.found.files.len() >= self.limits.max_files {
            self.full = true;
            let OutputLimits { max_files, max_bytes, .. } = self.limits;
            let what = format!(
                "and what comes after it is over the limit of {max_files} files and {max_bytes} bytes"
            );
            self.note_unseen(path, &what);
            return Ok(());
        }
        let (sha256, size) = hash(File::from(open), size).context("read", path)?;
        self.bytes += size;
        if (self.in_snapshot)(path.as_os_str().as_bytes()) != Some(sha256) {
            self.found.files.push(OutputFile { path: path.to_owned(), size, sha256 });
        }
        Ok(())
    }

    /// Opens `name` if it is still what was seen `before`; notes it otherwise.
    fn open_same(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        path: &Path,
        before: &Stat,
    ) -> Result<Option<(OwnedFd, Stat)>, PathError> {
        let beneath = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        let opened = match open(parent, Path::new(name), OFlags::empty(), beneath) {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::LOOP) => {
                self.note_unseen(path, "changed while it was collected");
                return Ok(None);
            }
            Err(Errno::XDEV) => {
                self.note_unseen(path, "is another file system");
                return Ok(None);
            }
            Err(Errno::ACCESS) => {
                self.note_unseen(path, "may not be read");
                return Ok(None);
            }
            Err(error) => return Err(error).context("open", path),
        };
        let now = rustix::fs::fstat(&opened).context("look at", path)?;
        let of = |stat: &Stat| (stat.st_dev, stat.st_ino, FileType::from_raw_mode(stat.st_mode));
        let is_file = FileType::from_raw_mode(now.st_mode) == FileType::RegularFile;
        if of(&now) != of(before) || (is_file && now.st_nlink != 1) {
            self.note_unseen(path, "changed while it was collected");
            return Ok(None);
        }
        Ok(Some((opened, now)))
    }

    /// Notes something that may be a file, or have files in it.
    fn note_unseen(&mut self, path: &Path, why: &str) {
        self.found.whole = false;
        self.note(path, why);
    }

    fn note(&mut self, path: &Path, why: &str) {
        if self.found.notes.len() < self.limits.max_notes {
            self.found.notes.push(format!("{path:?} {why}: not collected"));
        } else {
            self.unnamed += 1;
        }
    }

    fn finish(self) -> Outputs {
        let mut found = self.found;
        found.files.sort_by(|a, b| a.path.cmp(&b.path));
        if self.unnamed > 0 {
            found.notes.push(format!("{} more: not collected", self.unnamed));
        }
        found
    }
}

/// Opens for reading, without blocking and without following a link.
fn open(
    parent: impl AsFd,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let flags = flags
        | OFlags::RDONLY
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    match rustix::fs::openat2(&parent, path, flags, Mode::empty(), resolve) {
        // Old kernels and some containers do not have it. Names here have one component, so
        // NOFOLLOW alone keeps inside.
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::openat(parent, path, flags, Mode::empty()),
        answer => answer,
    }
}

/// Hashes the first `size` bytes: a file that somebody keeps appending to has an end too.
fn hash(file: File, size: u64) -> io::Result<(Digest, u64)> {
    let mut file = file.take(size);
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((hasher.finish(), total)),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                total += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

mod path_bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Name {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) => to.serialize_str(text),
            None => path.as_os_str().as_bytes().serialize(to),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Ok(match Name::deserialize(from)? {
            Name::Text(text) => text.into(),
            Name::Bytes(bytes) => OsString::from_vec(bytes).into(),
        })
    }
}
