//! The pipes that a container's output comes through: in the run directory, made before it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode as PipeMode;
use nix::unistd::mkfifo;
use rustix::fs::{Mode, OFlags, open};
use rustix::pipe::fcntl_setpipe_size;
use snapshots::path_error::{IoContext as _, PathError};

use crate::run_directory::RunDirectory;
use crate::supervisor::script::PIPE_BYTES;

/// The file that tells the prelude that the run was asked to end.
pub(super) const ASKED: &str = "asked";

/// Named pipes, held open for reading and writing: a script's end of output is not theirs, so
/// that neither the order in which things start nor the engine's absence ends them. They are
/// removed when this is dropped.
#[derive(Debug)]
pub(super) struct Pipes {
    directory: PathBuf,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// What the prelude says.
    pub(super) word: OwnedFd,
    /// Each line has the prelude look whether anything is still at work.
    look: OwnedFd,
}

impl Pipes {
    /// Makes `io/` of `run` and what is in it, for the user of this process only.
    pub(super) fn create(run: &RunDirectory) -> Result<Self, PathError> {
        let directory = run.io();
        DirBuilder::new().mode(0o700).create(&directory).context("create", &directory)?;
        let pipe = |name: &str| {
            let path = directory.join(name);
            mkfifo(&path, PipeMode::from_bits_truncate(0o600))
                .map_err(io::Error::from)
                .and_then(|()| {
                    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
                    Ok(open(&path, flags, Mode::empty())?)
                })
                .context("make the pipe", &path)
        };
        let (stdout, stderr) = (pipe("stdout")?, pipe("stderr")?);
        let (word, look) = (pipe("word")?, pipe("look")?);
        for pipe in [&stdout, &stderr] {
            // A user over the limit for pipes gets small ones: slower, not wrong.
            let _enlarged = fcntl_setpipe_size(pipe.as_fd(), PIPE_BYTES);
        }
        Ok(Self { directory, stdout, stderr, word, look })
    }

    /// Returns further descriptors of the two output pipes, for whoever reads them.
    pub(super) fn output(&self) -> io::Result<[OwnedFd; 2]> {
        Ok([self.stdout.try_clone()?, self.stderr.try_clone()?])
    }

    /// Returns a further descriptor of the pipe whose lines have the prelude look.
    pub(super) fn look(&self) -> io::Result<OwnedFd> {
        self.look.try_clone()
    }

    /// Tells the prelude that the run was asked to end. Before its signal is sent.
    pub(super) fn say_asked(&self) {
        let path = self.directory.join(ASKED);
        // On a full disk what the program started ends with it.
        if let Err(error) = File::create(&path) {
            eprintln!("cannot create {path:?}: {error}");
        }
    }

    /// Opens the two output pipes for writing.
    pub(super) fn writers(&self) -> Result<[File; 2], PathError> {
        let writer = |name: &str| {
            let path = self.directory.join(name);
            OpenOptions::new().write(true).open(&path).context("open", path)
        };
        Ok([writer("stdout")?, writer("stderr")?])
    }
}

impl Drop for Pipes {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.directory) {
            eprintln!("{error}");
        }
    }
}

/// Removes the pipes of `run`, whoever made them.
pub(super) fn remove_of(run: &RunDirectory) -> Result<(), PathError> {
    remove(&run.io())
}

fn remove(directory: &Path) -> Result<(), PathError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).context("remove", directory)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn who_writes_and_leaves_is_read_and_does_not_end_them() {
        let base = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(base.path());
        let pipes = Pipes::create(&run).unwrap();
        let [stdout, _] = pipes.output().unwrap();
        let mut buffer = [0; 8];

        for said in [b"one", b"two"] {
            fs::OpenOptions::new()
                .write(true)
                .open(run.io().join("stdout"))
                .unwrap()
                .write_all(said)
                .unwrap();
            assert_eq!(rustix::io::read(&stdout, &mut buffer), Ok(3));
            assert_eq!(&buffer[..3], said);
        }
        assert_eq!(rustix::io::read(&stdout, &mut buffer), Err(rustix::io::Errno::AGAIN));

        drop(pipes);
        assert!(!run.io().exists());
        remove_of(&run).unwrap();
        assert!(!run.io().exists());
    }
}
