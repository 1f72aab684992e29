//! Conda environments, by a tool of this machine or by the rattler crates.

use crate::environment::CondaPackages;

use super::{BuildError, Built, Watch, Workshop};

/// Builds a conda environment in the workshop's directory. `target_prefix` is where it will be
/// used, if that is elsewhere: within an image.
pub(crate) fn build(
    workshop: &Workshop<'_>,
    packages: &CondaPackages,
    watch: &mut Watch<'_>,
) -> Result<Built, BuildError> {
    let _ = (workshop, packages, watch);
    todo!()
}

/// Lays out the conda packages, without those of pip, in `directory` as they will be used at
/// `target_prefix` within an image, and returns the lock (explicit URLs) and `conda list`.
pub(crate) fn lay_out_for_image(
    workshop: &Workshop<'_>,
    packages: &CondaPackages,
    directory: &std::path::Path,
    target_prefix: &str,
    watch: &mut Watch<'_>,
) -> Result<LaidOut, BuildError> {
    let _ = (workshop, packages, directory, target_prefix, watch);
    todo!()
}

/// Conda packages that were laid out.
#[derive(Debug)]
pub(crate) struct LaidOut {
    /// Explicit URLs with hashes.
    pub(crate) lock: crate::environment::RequirementsFile,
    /// As `conda list` says it.
    pub(crate) packages: Vec<String>,
    /// The version of its Python, if it has one.
    pub(crate) python_version: Option<String>,
    /// The pip section as requirements, if it has one.
    pub(crate) pip: Option<Vec<crate::environment::RequirementsFile>>,
}
