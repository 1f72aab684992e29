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
}

impl Default for OutputLimits {
    fn default() -> Self {
        Self { max_files: 100_000, max_bytes: 1 << 40, max_depth: 64 }
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
    let mut collector = Collector { limits, in_snapshot, found, bytes: 0, full: false };
    let work = open(CWD, &run.work(), OFlags::DIRECTORY, ResolveFlags::empty())
        .context("open", run.work())?;
    for name in ["outputs", "logs"] {
        collector.entry(&work, OsStr::new(name), Path::new(""), 0)?;
    }
    collector.found.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(collector.found)
}

struct Collector<'a> {
    limits: &'a OutputLimits,
    in_snapshot: &'a dyn Fn(&[u8]) -> Option<Digest>,
    found: Outputs,
    bytes: u64,
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
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
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
        self.found.notes.push(format!("{path:?} {why}: not collected"));
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use nix::sys::stat::Mode as NixMode;

    use super::*;

    fn run(files: &[(&str, &str)]) -> (tempfile::TempDir, RunDirectory) {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(directory.path());
        for (path, text) in files {
            let path = run.work().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        (directory, run)
    }

    fn collected(run: &RunDirectory) -> Outputs {
        collect(run, &OutputLimits::default(), &|_| None).unwrap()
    }

    fn paths(outputs: &Outputs) -> Vec<&str> {
        outputs.files.iter().map(|file| file.path.to_str().unwrap()).collect()
    }

    #[test]
    fn files_of_outputs_and_logs_are_listed_with_size_and_digest() {
        let (_directory, run) = run(&[
            ("outputs/b/model.pkl", "abc"),
            ("outputs/a", ""),
            ("logs/metrics.jsonl", "{}"),
            ("train.py", "pass"),
        ]);

        let outputs = collected(&run);

        assert_eq!(paths(&outputs), ["logs/metrics.jsonl", "outputs/a", "outputs/b/model.pkl"]);
        let model = &outputs.files[2];
        assert_eq!((model.size, model.sha256), (3, Digest::of(b"abc")));
        assert!(outputs.notes.is_empty());
    }

    #[test]
    fn what_came_with_the_snapshot_unchanged_is_not_an_output() {
        let (_directory, run) = run(&[("outputs/old", "old"), ("outputs/changed", "new")]);

        let outputs = collect(&run, &OutputLimits::default(), &|path| match path {
            b"outputs/old" | b"outputs/changed" => Some(Digest::of(b"old")),
            other => panic!("asked for {other:?}"),
        });

        assert_eq!(paths(&outputs.unwrap()), ["outputs/changed"]);
    }

    #[test]
    fn nothing_but_plain_files_is_touched() {
        let (_directory, run) = run(&[("outputs/kept", "x"), ("secret", "s"), ("logs/l", "l")]);
        let outputs = run.outputs();
        symlink("/etc/passwd", outputs.join("link")).unwrap();
        symlink("/etc", outputs.join("linked_directory")).unwrap();
        fs::hard_link(run.work().join("secret"), outputs.join("hard")).unwrap();
        nix::unistd::mkfifo(&outputs.join("fifo"), NixMode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(outputs.join("socket")).unwrap();

        let found = collected(&run);

        assert_eq!(paths(&found), ["logs/l", "outputs/kept"]);
        insta::assert_snapshot!(found.notes.join("\n"), @r#"
        "outputs/fifo" is a FIFO: not collected
        "outputs/hard" has other names (hard links): not collected
        "outputs/link" is a symbolic link: not collected
        "outputs/linked_directory" is a symbolic link: not collected
        "outputs/socket" is a socket: not collected
        "#);
    }

    #[test]
    fn outputs_that_are_a_link_are_not_followed() {
        let (_directory, run) = run(&[("logs/l", "l")]);
        symlink("/etc", run.outputs()).unwrap();

        let found = collected(&run);

        assert_eq!(paths(&found), ["logs/l"]);
        assert_eq!(found.notes, [r#""outputs" is a symbolic link: not collected"#]);
    }

    #[test]
    fn limits_end_the_list_and_are_said() {
        let (_directory, run) =
            run(&[("outputs/a", "aaa"), ("outputs/b", "b"), ("outputs/c", "c")]);
        for limits in [
            OutputLimits { max_files: 1, ..OutputLimits::default() },
            OutputLimits { max_bytes: 3, ..OutputLimits::default() },
        ] {
            let found = collect(&run, &limits, &|_| None).unwrap();
            assert_eq!(paths(&found), ["outputs/a"]);
            assert!(found.notes[0].starts_with(r#""outputs/b" and what comes after"#));
        }
        let shallow = OutputLimits { max_depth: 0, ..OutputLimits::default() };
        assert!(collect(&run, &shallow, &|_| None).unwrap().files.is_empty());
    }

    #[test]
    fn a_name_that_is_not_text_survives_json() {
        let file = OutputFile {
            path: OsStr::from_bytes(b"outputs/\xff").into(),
            size: 0,
            sha256: Digest::of(b""),
        };
        let text = serde_json::to_string(&file).unwrap();
        assert!(text.starts_with(r#"{"path":[111,117"#), "{text}");
        assert_eq!(serde_json::from_str::<OutputFile>(&text).unwrap(), file);
    }

    #[test]
    fn a_run_without_a_working_directory_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let gone = RunDirectory::new(directory.path().join("gone"));
        let error = collect(&gone, &OutputLimits::default(), &|_| None).unwrap_err();
        assert!(error.to_string().starts_with("cannot open "), "{error}");
    }
}
