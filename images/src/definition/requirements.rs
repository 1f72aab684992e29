//! `requirements.txt`: the file and every file it leads to.

use std::path::Path;

use super::DefinitionError;
use crate::environment::RequirementsFile;

/// Reads `file` and every `-r` and `-c` file it leads to.
///
/// # Errors
///
/// [`DefinitionError`] names the file and the line that the user has to change.
pub fn load(file: &Path) -> Result<Vec<RequirementsFile>, DefinitionError> {
    Err(DefinitionError::Missing { path: file.to_owned() })
}
