//! Files of run directories, opened without following a link.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, openat};

/// Opens the regular file `path`, whose names are separated by slashes, below `root`. `None` when
/// there is none: also when a link or anything else stands in the way, or when the file has
/// other names too, which may lie outside.
///
/// # Errors
///
/// It is there and cannot be opened.
pub fn open_beneath(root: &Path, path: &[u8]) -> io::Result<Option<File>> {
    let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let plain = |name: &&[u8]| !name.is_empty() && **name != *b"." && **name != *b"..";
    if !names.iter().all(plain) || path.contains(&0) {
        return Ok(None);
    }
    let directory = OFlags::DIRECTORY | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // A FIFO or device must not keep the one who opens it waiting.
    let file =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let Some((last, parents)) = names.split_last() else { return Ok(None) };
    let open = || {
        let mut at = openat(CWD, root, directory, Mode::empty())?;
        for name in parents {
            at = openat(&at, OsStr::from_bytes(name), directory, Mode::empty())?;
        }
        // Looked at before it is opened: to open some devices is to use them.
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        let found = rustix::fs::statat(&at, OsStr::from_bytes(last), flags)?;
        if !is_plain(&found) {
            return Ok(None);
        }
        let opened = openat(&at, OsStr::from_bytes(last), file, Mode::empty())?;
        let found = rustix::fs::fstat(&opened)?;
        Ok(is_plain(&found).then(|| File::from(opened)))
    };
    match open() {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
            Ok(None)
        }
        answer => answer.map_err(io::Error::from),
    }
}

fn is_plain(found: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::RegularFile && found.st_nlink == 1
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_plain_files_beneath_are_opened() {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("work");
        std::fs::create_dir_all(root.join("outputs/deep")).unwrap();
        std::fs::write(top.path().join("secret"), "secret").unwrap();
        std::fs::write(root.join("outputs/deep/a b"), "fine").unwrap();
        std::fs::write(root.join("outputs/two"), "two names").unwrap();
        std::fs::hard_link(root.join("outputs/two"), root.join("outputs/names")).unwrap();
        symlink("../../secret", root.join("outputs/link")).unwrap();
        symlink("/", root.join("outputs/root")).unwrap();
        rustix::fs::mknodat(
            CWD,
            root.join("outputs/fifo"),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();

        let mut text = String::new();
        let mut file = open_beneath(&root, b"outputs/deep/a b").unwrap().unwrap();
        file.read_to_string(&mut text).unwrap();

        assert_eq!(text, "fine");
        for path in [
            "",
            "/",
            "outputs",
            "outputs/",
            "outputs//deep/a b",
            "outputs/./deep/a b",
            "outputs/../../secret",
            "../secret",
            "/etc/passwd",
            "outputs/link",
            "outputs/root/etc/passwd",
            "outputs/names",
            "outputs/fifo",
            "outputs/missing",
            "outputs/deep/a b/c",
            "outputs/deep/a b\0",
        ] {
            assert!(open_beneath(&root, path.as_bytes()).unwrap().is_none(), "{path:?}");
        }
    }
}
