//! `pyproject.toml`, with or without `uv.lock`.

mod canonical;
mod local;

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::requirements::{self, has_credentials, requirement};
use super::{DefinitionError, Place};
use crate::environment::{RequirementsFile, UvProject};

pub(crate) use self::canonical::canonical;

const PYPROJECT: &str = "pyproject.toml";
const LOCK: &str = "uv.lock";

/// Reads a project by its directory or by either of its files; the other is the one beside it.
///
/// # Errors
///
/// [`DefinitionError`] names the file and what the user has to change.
pub fn load(path: &Path) -> Result<UvProject, DefinitionError> {
    let directory =
        if path.is_dir() { path } else { path.parent().unwrap_or_else(|| Path::new("")) };
    let pyproject = directory.join(PYPROJECT);
    let project = UvProject {
        pyproject: read(&pyproject)?.ok_or_else(|| not_usable(&pyproject, "does not exist"))?,
        lock: read(&directory.join(LOCK))?,
    };
    Project::parse(&project)?;
    Ok(project)
}

fn read(path: &Path) -> Result<Option<String>, DefinitionError> {
    requirements::read(path).map_err(|error| match error {
        DefinitionError::NotAFile { .. } => not_usable(path, "is not a regular file"),
        DefinitionError::NotUtf8 { .. } => not_usable(path, "is not UTF-8 text"),
        DefinitionError::TooLarge { .. } => not_usable(path, "is too large to be one"),
        other => other,
    })
}

fn not_usable(path: &Path, why: &'static str) -> DefinitionError {
    DefinitionError::ProjectFile { path: PathBuf::from(path), why }
}

/// The files of a project that were understood, and need nothing else of its directory.
///
/// They may come from another machine: nothing is taken for granted that [`load`] has seen to.
#[derive(Debug)]
pub(crate) struct Project {
    pyproject: Table,
    lock: Option<Table>,
    /// As they are written.
    dependencies: Vec<String>,
}

impl Project {
    /// Reads the texts and checks that they can be built.
    pub(crate) fn parse(project: &UvProject) -> Result<Self, DefinitionError> {
        let pyproject = parse(PYPROJECT, &project.pyproject)?;
        let lock = project.lock.as_deref().map(|text| parse(LOCK, text)).transpose()?;
        let dependencies = dependencies(&pyproject, lock.is_some())?;
        local::check(&pyproject, lock.as_ref(), &dependencies)?;
        if let Some(lock) = &lock {
            check_lock_has(lock, &dependencies)?;
        }
        Ok(Self { pyproject, lock, dependencies })
    }

    /// Returns the dependencies as a requirements file, for tools that know no projects.
    pub(crate) fn requirements(&self) -> RequirementsFile {
        let text = self.dependencies.iter().fold(String::new(), |text, one| text + one + "\n");
        RequirementsFile { name: PYPROJECT.to_owned(), text }
    }

    /// Whether only uv understands all that decides what is installed.
    pub(crate) fn needs_uv(&self) -> bool {
        let settings = ["sources", "override-dependencies", "constraint-dependencies", "index"];
        let uv = table(&self.pyproject, &["tool", "uv"]);
        self.lock.is_some()
            || uv.is_some_and(|uv| settings.iter().any(|name| uv.contains_key(*name)))
    }
}

fn parse(file: &'static str, text: &str) -> Result<Table, DefinitionError> {
    for (number, line) in text.lines().enumerate() {
        if has_credentials(line) {
            let place = Place { file: file.to_owned(), line: number + 1 };
            return Err(DefinitionError::Credentials { place });
        }
    }
    text.parse().map_err(|error: toml::de::Error| {
        let line = error
            .span()
            .map_or(0, |span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
        DefinitionError::Project {
            file,
            message: format!("line {line}: {}", error.message().lines().next().unwrap_or_default()),
            hint: "",
        }
    })
}

/// Returns the table at `path`, if there is one.
fn table<'a>(root: &'a Table, path: &[&str]) -> Option<&'a Table> {
    path.iter().try_fold(root, |table, name| table.get(*name)?.as_table())
}

fn wrong(file: &'static str, message: impl Into<String>, hint: &'static str) -> DefinitionError {
    DefinitionError::Project { file, message: message.into(), hint }
}

fn dependencies(pyproject: &Table, is_locked: bool) -> Result<Vec<String>, DefinitionError> {
    let Some(project) = table(pyproject, &["project"]) else {
        return Err(wrong(
            PYPROJECT,
            "there is no [project] table with the dependencies",
            "List them in `dependencies` of [project], or name another definition with --env.",
        ));
    };
    let dynamic = project.get("dynamic").and_then(Value::as_array);
    let is_dynamic = dynamic
        .is_some_and(|dynamic| dynamic.iter().any(|name| name.as_str() == Some("dependencies")));
    if is_dynamic && !is_locked {
        return Err(wrong(
            PYPROJECT,
            "the dependencies are dynamic: only a build of the project would tell them",
            "Run `uv lock` beside it.",
        ));
    }
    let Some(listed) = project.get("dependencies") else { return Ok(Vec::new()) };
    let not_texts = || wrong(PYPROJECT, "`dependencies` is not a list of requirements", "");
    let listed = listed.as_array().ok_or_else(not_texts)?;
    listed
        .iter()
        .map(|one| {
            // An option is none, nor are two lines.
            let text = one.as_str().map(str::trim).ok_or_else(not_texts)?;
            let is_name = text.starts_with(|c: char| c.is_ascii_alphanumeric());
            if is_name && !text.contains(char::is_control) {
                return Ok(text.to_owned());
            }
            Err(wrong(PYPROJECT, format!("{text:?} is not a requirement"), ""))
        })
        .collect()
}

/// A lock that is behind the project would be installed without a word.
fn check_lock_has(lock: &Table, dependencies: &[String]) -> Result<(), DefinitionError> {
    let packages = lock.get("package").and_then(Value::as_array);
    let Some(root) = packages.into_iter().flatten().find(|package| local::is_root(package)) else {
        return Ok(());
    };
    let locked: Vec<&str> = root
        .get("dependencies")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|one| one.get("name")?.as_str())
        .collect();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    for one in dependencies {
        let name = requirement(one);
        let name = name.split(|c| !is_name(c)).next().unwrap_or_default();
        if !locked.contains(&name) {
            return Err(wrong(
                LOCK,
                format!("{name:?} is missing, which {PYPROJECT} asks for"),
                "Run `uv lock` to bring it up to date.",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
