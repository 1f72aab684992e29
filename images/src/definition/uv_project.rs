//! `pyproject.toml`, with or without `uv.lock`.

use std::path::Path;

use super::DefinitionError;
use super::requirements::CanonicalLine;
use crate::environment::UvProject;

/// Reads a project by either of its files; the other is the one beside it.
///
/// # Errors
///
/// [`DefinitionError`] names the file and what the user has to change.
pub fn load(file: &Path) -> Result<UvProject, DefinitionError> {
    let _ = file;
    todo!()
}

/// Returns what determines the environment of a project, part by part.
pub(crate) fn canonical(
    project: &UvProject,
) -> Result<Vec<(&'static str, CanonicalLine)>, DefinitionError> {
    let _ = project;
    todo!()
}
