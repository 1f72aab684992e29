//! Reads a file of a work tree without going through a link.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

/// What is found at the path of a tracked file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A regular file.
    File { executable: bool, bytes: Vec<u8> },
    /// A symbolic link and where it points.
    Link(Vec<u8>),
    /// A file longer than was asked for.
    TooLong,
    /// Nothing, or nothing that git would track there.
    Nothing,
}

/// Reads `path`, relative to `root`, up to `limit` bytes.
pub(super) fn read(root: &Path, path: &[u8], limit: usize) -> io::Result<Content> {
    match read_strictly(root, path, limit) {
        // A directory on the way is gone, or is a link or a file now: so is the file.
        Err(error) if gone(&error) => Ok(Content::Nothing),
        other => other,
    }
}

fn gone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::NOENT, Errno::NOTDIR, Errno::LOOP]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn read_strictly(root: &Path, path: &[u8], limit: usize) -> io::Result<Content> {
    let directory_flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut directory = rustix::fs::open(root, directory_flags, Mode::empty())?;
    let mut components = path.split(|byte| *byte == b'/').peekable();
    while let Some(name) = components.next() {
        if matches!(name, b"" | b"." | b"..") {
            return Ok(Content::Nothing);
        }
        let name = OsStr::from_bytes(name);
        if components.peek().is_none() {
            return read_entry(&directory, name, limit);
        }
        directory = rustix::fs::openat(&directory, name, directory_flags, Mode::empty())?;
    }
    Ok(Content::Nothing)
}

fn read_entry(directory: &OwnedFd, name: &OsStr, limit: usize) -> io::Result<Content> {
    let found = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
            Ok(Content::Link(std::ffi::OsString::from_vec(target.into_bytes()).into_vec()))
        }
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let file = File::from(rustix::fs::openat(directory, name, flags, Mode::empty())?);
            if !file.metadata()?.is_file() {
                return Ok(Content::Nothing);
            }
            let mut bytes = Vec::new();
            file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
            if bytes.len() > limit {
                return Ok(Content::TooLong);
            }
            Ok(Content::File { executable: found.st_mode & 0o100 != 0, bytes })
        }
        _ => Ok(Content::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_what_lies_beneath_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(directory.path().join("secret"), "SECRET").unwrap();
        fs::write(root.join("sub/file"), "text").unwrap();
        std::os::unix::fs::symlink("..", root.join("up")).unwrap();
        std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
        nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let read = |path: &[u8], limit| super::read(&root, path, limit).unwrap();

        let file = Content::File { executable: false, bytes: b"text".to_vec() };
        assert_eq!(read(b"sub/file", 4), file);
        assert_eq!(read(b"sub/file", 3), Content::TooLong);
        assert_eq!(read(b"link", 9), Content::Link(b"../secret".to_vec()));
        let nothing: [&[u8]; 9] = [
            b"up/secret",
            b"../secret",
            b"sub/../../secret",
            b"/etc/passwd",
            b"",
            b"sub",
            b"pipe",
            b"missing/x",
            b"sub/file/x",
        ];
        for path in nothing {
            assert_eq!(read(path, 9), Content::Nothing, "{}", path.escape_ascii());
        }
        assert!(super::read(&root, &[b'x'; 300], 9).is_err(), "a name too long");
    }
}
