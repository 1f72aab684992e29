//! `conda.yml`, `environment.yml`, `conda_dependencies.yml`: what conda calls an environment file.

mod canonical;
mod channel;
mod from_pip;
mod names;
mod reading;
mod spec;

use std::collections::BTreeMap;
use std::path::Path;

use super::requirements;
use super::{DefinitionError, Place};
use crate::environment::{CondaPackages, RequirementsFile};

pub(crate) use self::canonical::canonical_lines;
pub(crate) use self::channel::{ChannelSettings, location, locations};
pub use self::from_pip::{FromPip, from_pip};
pub use self::spec::CondaSpec;

/// A conda file that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CondaFile {
    /// What the file calls the environment. Nothing depends on it.
    pub name: Option<String>,
    /// As written; the first counts most.
    pub channels: Vec<String>,
    /// The packages for conda.
    pub specs: Vec<CondaSpec>,
    /// The lines of the pip section, if there is one, with the numbers they have in the file.
    pub pip: Option<Vec<(usize, String)>>,
    /// Variables that processes in the environment find set.
    pub variables: BTreeMap<String, String>,
    /// What has no effect, with the reason.
    pub warnings: Vec<String>,
}

/// Reads `file`, and the requirements files its pip section leads to.
///
/// # Errors
///
/// [`DefinitionError`] names the file and the line that the user has to change.
pub fn load(file: &Path) -> Result<CondaPackages, DefinitionError> {
    let text = requirements::read(file).map_err(|error| of_conda(error, file))?;
    let text = text.ok_or_else(|| not_usable(file, "does not exist"))?;
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| not_usable(file, "has a name that is not UTF-8"))?.to_owned();
    let directory = file.parent().unwrap_or_else(|| Path::new(""));
    let directory = std::path::absolute(directory)
        .map_err(|_| not_usable(file, "is in a directory that cannot be found"))?;
    of_text(&name, &text, &directory)
}

/// As [`load`], of a text that is already there: the file would be called `name` and be in
/// `directory`, which has to be absolute.
///
/// # Errors
///
/// As [`load`].
pub fn of_text(name: &str, text: &str, directory: &Path) -> Result<CondaPackages, DefinitionError> {
    let parsed = parse(name, text)?;
    let files = match parsed.pip_file(name) {
        Some(first) => requirements::load_from(first, directory)?.split_off(1),
        None => Vec::new(),
    };
    Ok(CondaPackages {
        name: name.to_owned(),
        text: text.to_owned(),
        requirements: files,
        directory: Some(directory.to_owned()),
    })
}

/// Reads the text of a conda file called `name`.
///
/// # Errors
///
/// [`DefinitionError`] names the line that the user has to change.
pub fn parse(name: &str, text: &str) -> Result<CondaFile, DefinitionError> {
    reading::Reader { file: name, text }.read()
}

/// Returns what the pip section of `packages` asks for, as requirements files: first the section
/// itself, then what it leads to. `None` where there is no such section or nothing in it.
pub(crate) fn pip_files(
    packages: &CondaPackages,
) -> Result<Option<Vec<RequirementsFile>>, DefinitionError> {
    let first = parse(&packages.name, &packages.text)?.pip_file(&packages.name);
    Ok(first.map(|first| {
        let mut files = vec![first];
        files.extend(packages.requirements.iter().cloned());
        files
    }))
}

/// Returns the variables that processes in the environment find set. A file that cannot be
/// understood sets none: that it cannot is said elsewhere.
pub(crate) fn variables(packages: &CondaPackages) -> BTreeMap<String, String> {
    parse(&packages.name, &packages.text).map(|file| file.variables).unwrap_or_default()
}

impl CondaFile {
    /// Returns the pip section as a requirements file in which every line has the number that it
    /// has in the conda file, so that messages name that.
    fn pip_file(&self, name: &str) -> Option<RequirementsFile> {
        let lines = self.pip.as_ref().filter(|lines| !lines.is_empty())?;
        let mut text = String::new();
        let mut next = 1;
        for (number, line) in lines {
            while next < *number {
                text.push('\n');
                next += 1;
            }
            text += line;
            text.push('\n');
            next += 1;
        }
        Some(RequirementsFile { name: name.to_owned(), text })
    }
}

fn of_conda(error: DefinitionError, file: &Path) -> DefinitionError {
    match error {
        DefinitionError::NotAFile { .. } => not_usable(file, "is not a regular file"),
        DefinitionError::NotUtf8 { .. } => not_usable(file, "is not UTF-8 text"),
        DefinitionError::TooLarge { .. } => not_usable(file, "is too large to be one"),
        other => other,
    }
}

fn not_usable(file: &Path, why: &'static str) -> DefinitionError {
    DefinitionError::CondaFile { path: file.to_owned(), why }
}

fn place(file: &str, line: usize) -> Place {
    Place { file: file.to_owned(), line }
}

#[cfg(test)]
mod tests;
