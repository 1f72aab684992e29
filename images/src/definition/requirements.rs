//! `requirements.txt`: the file and every file it leads to.
//!
//! The text is kept as it is. `${NAME}` in it stays unexpanded everywhere, since values may be
//! secrets; a build is given the variables that are named, and no others.

mod canonical;
mod line;
mod url;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use snapshots::path_error::IoContext;

pub(crate) use self::canonical::{CanonicalLine, canonical_lines, requirement};
pub(crate) use self::line::{Line, LineKind, parse};
pub(crate) use self::url::{has_credentials, without_credentials};
use super::{DefinitionError, Place};
use crate::environment::RequirementsFile;

/// The largest file that is read. Locks with hashes reach a few hundred kilobytes.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// How many files one may lead to.
pub const MAX_FILES: usize = 100;

/// Reads `file` and every `-r` and `-c` file it leads to.
///
/// # Errors
///
/// [`DefinitionError`] names the file and the line that the user has to change.
pub fn load(file: &Path) -> Result<Vec<RequirementsFile>, DefinitionError> {
    let directory = file.parent().unwrap_or_else(|| Path::new(""));
    let root = file.file_name().map(PathBuf::from).unwrap_or_default();
    let text = read(file)?.ok_or_else(|| DefinitionError::Missing { path: file.to_owned() })?;
    load_from(RequirementsFile { name: display(&root, file)?, text }, directory)
}

/// Reads every file that `first` leads to, which is in `directory`.
pub(crate) fn load_from(
    first: RequirementsFile,
    directory: &Path,
) -> Result<Vec<RequirementsFile>, DefinitionError> {
    let mut files = vec![first];
    let mut next = 0;
    while let Some(RequirementsFile { name, text }) = files.get(next) {
        let mut found = Vec::new();
        for line in parse(name, text)? {
            let LineKind::Include { target, .. } = line.kind else { continue };
            let included = resolve(name, &target);
            let known = files.iter().chain(&found).any(|file| file.name == included);
            if known {
                continue;
            }
            let place = Place { file: name.clone(), line: line.number };
            let path = directory.join(&included);
            let text =
                read(&path)?.ok_or(DefinitionError::MissingInclude { file: target, place })?;
            found.push(RequirementsFile { name: included, text });
        }
        files.append(&mut found);
        if files.len() > MAX_FILES {
            return Err(DefinitionError::TooMany {
                file: files.swap_remove(0).name,
                limit: MAX_FILES,
            });
        }
        next += 1;
    }
    Requirements::check(&files)?;
    Ok(files)
}

/// Requirements files that were understood, and whose references all lead to one of them.
///
/// They may come from another machine: nothing is taken for granted that [`load`] has seen to.
#[derive(Debug)]
pub(crate) struct Requirements<'a> {
    pub(crate) files: Vec<Parsed<'a>>,
}

/// One of the files.
#[derive(Debug)]
pub(crate) struct Parsed<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
    pub(crate) lines: Vec<Line>,
    /// For each line that is a reference, in order: which file it is to.
    pub(crate) includes: BTreeMap<usize, usize>,
}

impl<'a> Requirements<'a> {
    /// Reads the lines of `files` and ties their references.
    pub(crate) fn check(files: &'a [RequirementsFile]) -> Result<Self, DefinitionError> {
        if files.is_empty() {
            return Err(DefinitionError::Empty);
        }
        let index: BTreeMap<&str, usize> =
            files.iter().enumerate().map(|(at, file)| (file.name.as_str(), at)).collect();
        let mut parsed = Vec::new();
        for file in files {
            let lines = parse(&file.name, &file.text)?;
            let mut includes = BTreeMap::new();
            for (at, line) in lines.iter().enumerate() {
                let LineKind::Include { target, .. } = &line.kind else { continue };
                let place = Place { file: file.name.clone(), line: line.number };
                let to = index.get(resolve(&file.name, target).as_str()).copied();
                let to = to.ok_or_else(|| DefinitionError::MissingInclude {
                    file: target.clone(),
                    place,
                })?;
                includes.insert(at, to);
            }
            parsed.push(Parsed { name: &file.name, text: &file.text, lines, includes });
        }
        let requirements = Self { files: parsed };
        requirements.check_cycles(0, &mut Vec::new(), &mut BTreeSet::new())?;
        Ok(requirements)
    }

    /// Returns the variables that lines name, with the place of the first.
    pub(crate) fn variables(&self) -> BTreeMap<String, Place> {
        let mut found = BTreeMap::new();
        for file in &self.files {
            for line in &file.lines {
                for name in line::variables(&line.text) {
                    found
                        .entry(name)
                        .or_insert_with(|| Place { file: file.name.to_owned(), line: line.number });
                }
            }
        }
        found
    }

    /// Whether a variable stands where only pip replaces it: uv does so in URLs alone.
    pub(crate) fn have_variables_outside_urls(&self) -> bool {
        let mut lines = self.files.iter().flat_map(|file| &file.lines);
        lines.any(|line| !line.text.contains("://") && !line::variables(&line.text).is_empty())
    }

    fn check_cycles(
        &self,
        at: usize,
        path: &mut Vec<usize>,
        done: &mut BTreeSet<usize>,
    ) -> Result<(), DefinitionError> {
        path.push(at);
        let file = &self.files[at];
        for (line, to) in &file.includes {
            if path.contains(to) {
                let place = Place { file: file.name.to_owned(), line: file.lines[*line].number };
                let file = self.files[*to].name.to_owned();
                return Err(DefinitionError::Cycle { file, place });
            }
            if !done.contains(to) {
                self.check_cycles(*to, path, done)?;
            }
        }
        path.pop();
        done.insert(at);
        Ok(())
    }
}

/// Returns the name of what `from` calls `target`.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<Component<'_>> = Vec::new();
    let directory = Path::new(from).parent().unwrap_or_else(|| Path::new(""));
    let joined = directory.join(target);
    for part in joined.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => match parts.last() {
                Some(Component::Normal(_)) => {
                    parts.pop();
                }
                Some(Component::RootDir) => {}
                _ => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    let name: PathBuf = parts.iter().collect();
    // Joined from texts, so nothing is lost.
    name.to_string_lossy().into_owned()
}

/// Returns the text of `path`; `None` if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<String>, DefinitionError> {
    // Never waits for a writer, should it be a pipe.
    let flags =
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, rustix::fs::Mode::empty()) {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        other => std::fs::File::from(other.context("read", path)?),
    };
    if !file.metadata().context("read", path)?.is_file() {
        return Err(DefinitionError::NotAFile { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).context("read", path)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(DefinitionError::TooLarge {
            path: path.to_owned(),
            limit_bytes: MAX_FILE_BYTES,
        });
    }
    let text =
        String::from_utf8(bytes).map_err(|_| DefinitionError::NotUtf8 { path: path.to_owned() })?;
    Ok(Some(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    }))
}

fn display(name: &Path, path: &Path) -> Result<String, DefinitionError> {
    let text = name.to_str().ok_or_else(|| DefinitionError::NotUtf8 { path: path.to_owned() })?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
