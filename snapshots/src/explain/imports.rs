//! Finds modules that a script needs and that a snapshot would not hold.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Reason;
use super::judge::Judge;
use super::python::{self, Import};
use crate::ignore_rules;
use crate::snapshot::{SnapshotError, SnapshotOptions};
use crate::walk::place::join;

/// How many files are followed. More means that somebody imports a whole library.
const MOST_FILES: usize = 1_000;

/// A file that the script needs and that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoredImport {
    /// The file, relative to the source.
    pub path: PathBuf,
    /// Why it is left out.
    pub reason: Reason,
    /// The file that imports it and the line there; nothing for the entry script itself.
    pub imported_by: Option<(PathBuf, u32)>,
}

impl fmt::Display for IgnoredImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.imported_by {
            None => write!(f, "the script {} is left out", self.path.display())?,
            Some((by, line)) => write!(
                f,
                "{} is left out, but imported by {}:{line}",
                self.path.display(),
                by.display()
            )?,
        }
        write!(f, " ({})", self.reason)
    }
}

/// Checks that a snapshot of `source` would hold `script` and the modules it imports from there.
///
/// Imports are read from the text of the files, on and on from module to module. A module is
/// looked for in the script's directory and in the source's root.
///
/// # Errors
///
/// An ignore file cannot be read.
pub fn check_imports(
    source: &Path,
    script: &Path,
    options: &SnapshotOptions,
) -> Result<Vec<IgnoredImport>, SnapshotError> {
    let mut judge = Judge::new(source, options)?;
    let explained = judge.explain(script)?;
    if matches!(explained.reason, Reason::Outside | Reason::Missing) {
        // Whoever starts it says so more clearly.
        return Ok(Vec::new());
    }
    let script = explained.path.as_os_str().as_bytes().to_vec();
    let mut roots = vec![parent(&script).to_vec()];
    if !roots[0].is_empty() {
        roots.push(Vec::new());
    }
    let mut ignored = Vec::new();
    let mut seen = BTreeSet::from([script.clone()]);
    let mut pending = VecDeque::from([(script, None)]);
    while let Some((path, imported_by)) = pending.pop_front() {
        let (included, reason) = judge.judge(&path)?;
        let shown = PathBuf::from(OsStr::from_bytes(&path));
        if !included {
            ignored.push(IgnoredImport { path: shown.clone(), reason, imported_by });
        }
        // Not read when it is too long, unreadable, or no regular file: then nothing is known.
        let Ok(Some(text)) = ignore_rules::read_nested(&source.join(&shown)) else { continue };
        for import in python::imports(&text) {
            for file in needed(source, &roots, parent(&path), &import) {
                if seen.len() < MOST_FILES && seen.insert(file.clone()) {
                    pending.push_back((file, Some((shown.clone(), import.line))));
                }
            }
        }
    }
    Ok(ignored)
}

fn parent(path: &[u8]) -> &[u8] {
    memchr::memrchr(b'/', path).map_or(&[], |slash| &path[..slash])
}

/// Returns the files in the source that `import` reads, made by a file in `directory`.
fn needed(source: &Path, roots: &[Vec<u8>], directory: &[u8], import: &Import) -> Vec<Vec<u8>> {
    if import.dots == 0 {
        // The first root that knows the first part of the name has them all, as for Python.
        let files = roots.iter().map(|root| module_files(source, root, import));
        return files.into_iter().find(|files| !files.is_empty()).unwrap_or_default();
    }
    let mut package = directory;
    for _ in 1..import.dots {
        if package.is_empty() {
            return Vec::new();
        }
        package = parent(package);
    }
    module_files(source, package, import)
}

/// Returns the files of a module whose name starts in `start`: the `__init__.py` of each package
/// on the way, the module itself, and those of its names that are modules.
fn module_files(source: &Path, start: &[u8], import: &Import) -> Vec<Vec<u8>> {
    let is_file = |path: &[u8]| source.join(OsStr::from_bytes(path)).is_file();
    let is_directory = |path: &[u8]| source.join(OsStr::from_bytes(path)).is_dir();
    let mut files = Vec::new();
    let mut at = start.to_vec();
    if import.dots > 0 {
        files.extend(Some(join(&at, b"__init__.py")).filter(|init| is_file(init)));
    }
    for part in &import.module {
        at = join(&at, part.as_bytes());
        let init = join(&at, b"__init__.py");
        let module = [&at[..], b".py"].concat();
        if is_file(&init) {
            files.push(init);
        } else if is_file(&module) {
            files.push(module);
            return files;
        } else if !is_directory(&at) {
            return files;
        }
    }
    for name in &import.names {
        let inner = join(&at, name.as_bytes());
        let candidates = [join(&inner, b"__init__.py"), [&inner[..], b".py"].concat()];
        files.extend(candidates.into_iter().find(|file| is_file(file)));
    }
    files
}
