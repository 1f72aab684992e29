//! Finds the repository that a directory is in, as far as ignore files need to know it.

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A repository around a source directory.
pub(super) struct Repository {
    /// Its top directory, the one with `.git` in it.
    pub(super) root: PathBuf,
    /// Where `info/exclude` is, whether or not there is one.
    pub(super) exclude: PathBuf,
}

/// Looks for a repository in `directory`, which must be a real path, and above it.
///
/// As git does, it goes past a `.git` that is no repository and stops at a mount point. No
/// configuration is read.
pub(super) fn around(directory: &Path) -> Option<Repository> {
    let device = fs::metadata(directory).ok()?.dev();
    directory
        .ancestors()
        .take_while(|root| fs::metadata(root).is_ok_and(|found| found.dev() == device))
        .find_map(|root| {
            let common = common_directory(&git_directory(&root.join(".git"))?)?;
            Some(Repository { root: root.to_owned(), exclude: common.join("info/exclude") })
        })
}

/// Follows a `.git` file, as worktrees and submodules have it, to the directory it names.
fn git_directory(dot_git: &Path) -> Option<PathBuf> {
    let found = fs::metadata(dot_git).ok()?;
    if found.is_dir() {
        return Some(dot_git.to_owned());
    }
    if !found.is_file() {
        return None;
    }
    let text = read_short(dot_git)?;
    Some(dot_git.parent()?.join(path(text.strip_prefix(b"gitdir: ")?)))
}

/// Returns the directory that all worktrees share, if `git_directory` is one of a repository.
fn common_directory(git_directory: &Path) -> Option<PathBuf> {
    fs::symlink_metadata(git_directory.join("HEAD")).ok()?;
    let common = match read_short(&git_directory.join("commondir")) {
        Some(text) => git_directory.join(path(&text)),
        None => git_directory.to_owned(),
    };
    (common.join("objects").is_dir() && common.join("refs").is_dir()).then_some(common)
}

fn path(text: &[u8]) -> &Path {
    let end = text.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |at| at + 1);
    Path::new(std::ffi::OsStr::from_bytes(&text[..end]))
}

/// Reads a file that holds no more than a path.
fn read_short(file: &Path) -> Option<Vec<u8>> {
    // A pipe in its place would never end.
    if !fs::metadata(file).ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    fs::File::open(file).ok()?.take(16 * 1024).read_to_end(&mut text).ok()?;
    Some(text)
}
