//! Virtual environments with the dependencies of a Python project.

use super::{BuildError, Built, Watch, Workshop};
use crate::environment::UvProject;
use crate::interpreter::InterpreterFacts;

/// Builds the dependencies of `project`, based on the interpreter `base`.
pub(crate) fn build(
    workshop: &Workshop<'_>,
    base: &InterpreterFacts,
    project: &UvProject,
    watch: &mut Watch<'_>,
) -> Result<Built, BuildError> {
    let _ = (workshop, base, project, watch);
    todo!()
}
