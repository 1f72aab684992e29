//! `conda.yml`, also called `environment.yml`: the file and what its pip section leads to.

use std::path::Path;

use super::DefinitionError;
use crate::environment::{CondaPackages, RequirementsFile};

/// Reads `file` and the requirements files that its pip section leads to.
///
/// # Errors
///
/// [`DefinitionError`] names the file and the line that the user has to change.
pub fn load(file: &Path) -> Result<CondaPackages, DefinitionError> {
    let _ = file;
    todo!()
}

/// Reads what a run configuration lists in itself. `directory` is what paths in it are relative
/// to.
///
/// # Errors
///
/// As [`load`].
pub fn of_text(name: &str, text: &str, directory: &Path) -> Result<CondaPackages, DefinitionError> {
    let _ = (name, text, directory);
    todo!()
}

/// The same packages from pip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromPip {
    /// A requirements file with the packages of the same names, and what it leads to.
    pub files: Vec<RequirementsFile>,
    /// What differs, for the user to know.
    pub notes: Vec<String>,
}

/// Turns a conda file into requirements: packages of the same names from pip. Pure.
///
/// # Errors
///
/// As [`load`].
pub fn from_pip(packages: &CondaPackages) -> Result<FromPip, DefinitionError> {
    let _ = packages;
    todo!()
}
