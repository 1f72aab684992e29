//! Requirements files as a tool reads them.

use std::fs;
use std::path::{Path, PathBuf};

use snapshots::path_error::IoContext;

use super::BuildError;
use super::conda::PIP_LOCK;
use crate::definition::requirements::{LineKind, Requirements};
use crate::environment::RequirementsFile;

/// The directory of them within that of a build.
pub(super) const DIRECTORY: &str = "requirements";

/// Writes the files into `directory`.
///
/// Each gets a directory of its own, and references between them are written anew: no name from a
/// definition becomes a path, and nothing but these files is read.
pub(super) fn write(requirements: &Requirements<'_>, directory: &Path) -> Result<(), BuildError> {
    for (at, file) in requirements.files.iter().enumerate() {
        // Line by line, so that the line numbers in a tool's messages are the user's.
        let mut lines: Vec<String> = file.text.lines().map(str::to_owned).collect();
        for (index, line) in file.lines.iter().enumerate() {
            let LineKind::Include { constraint, .. } = line.kind else { continue };
            let option = if constraint { "-c" } else { "-r" };
            let start = line.number - 1;
            lines[start..start + line.span].fill(String::new());
            lines[start] =
                format!("{option} ../{}", file_path(requirements, file.includes[&index]).display());
        }
        let path = directory.join(file_path(requirements, at));
        let parent = path.parent().unwrap_or(directory);
        fs::create_dir_all(parent).context("create", parent)?;
        fs::write(&path, lines.join("\n") + "\n").context("write", &path)?;
    }
    Ok(())
}

/// Writes the versions that an earlier build's lock lists as constraints into the `build`'s
/// directory, and returns where they are in it. The requirements count besides: a lock leaves out
/// what every environment may have, as setuptools. Where these have hashes, they say it all.
pub(super) fn write_constraints(
    requirements: &Requirements<'_>,
    previous: &[RequirementsFile],
    build: &Path,
) -> Result<Option<String>, BuildError> {
    let Some(lock) = previous.iter().find(|file| file.name == PIP_LOCK) else { return Ok(None) };
    let has_hashes = requirements.files.iter().any(|file| file.text.contains("--hash"));
    let is_version = |line: &&str| !line.starts_with('-') && line.contains("==");
    let versions: Vec<&str> = lock.text.lines().filter(is_version).collect();
    if has_hashes || versions.is_empty() {
        return Ok(None);
    }
    let name = format!("{DIRECTORY}/earlier.txt");
    let path = build.join(&name);
    fs::write(&path, versions.join("\n") + "\n").context("write", &path)?;
    Ok(Some(name))
}

/// Returns where the file of that number is written: a directory of its own, and a plain name.
pub(super) fn file_path(requirements: &Requirements<'_>, at: usize) -> PathBuf {
    let name = Path::new(requirements.files[at].name).file_name().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    Path::new(&at.to_string()).join(name.to_string_lossy().chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests;
