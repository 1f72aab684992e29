//! Shims: scripts named `python` that start one of several interpreters.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{InterpreterError, is_executable, probe};

/// Follows `shim` to the interpreter it starts in this directory.
///
/// pyenv's own order is read from its files, which takes microseconds where starting the shim takes
/// a tenth of a second. Whatever is not that simple, and every other script, is started and asked.
pub(super) fn resolve(
    shim: &Path,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, InterpreterError> {
    if let Some(found) = from_files(shim, variable) {
        return Ok(found);
    }
    let kept = ["PATH", "HOME", "PYENV_ROOT", "PYENV_VERSION", "PYENV_DIR"];
    let kept = kept.iter().filter_map(|name| Some((OsString::from(name), variable(name)?)));
    probe::executable(shim, kept)
}

fn from_files(shim: &Path, variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let shims = shim.parent()?;
    let root = shims.parent()?;
    let versions = root.join("versions");
    if shims.file_name()? != "shims" || !versions.is_dir() {
        return None;
    }
    let wanted = match variable("PYENV_VERSION") {
        Some(wanted) => wanted.into_string().ok()?.replace(':', "\n"),
        None => {
            let directory = match variable("PYENV_DIR") {
                Some(directory) => PathBuf::from(directory),
                None => std::env::current_dir().ok()?,
            };
            directory
                .ancestors()
                .find_map(|directory| {
                    std::fs::read_to_string(directory.join(".python-version")).ok()
                })
                .or_else(|| std::fs::read_to_string(root.join("version")).ok())?
        }
    };
    for version in wanted.lines().map(str::trim).filter(|line| !line.is_empty()) {
        // "system", prefixes such as "3.11" and anything unusual are for pyenv itself to say.
        if version.starts_with('#') || version.contains('/') || !versions.join(version).is_dir() {
            return None;
        }
        let found = versions.join(version).join("bin").join(shim.file_name()?);
        if is_executable(&found) {
            return Some(found);
        }
    }
    None
}
