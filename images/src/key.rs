//! The environment key: the SHA-256 of what determines an environment.

mod docker;
mod parts;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use snapshots::digest::{Digest, InvalidDigest};

use self::parts::Collector;
pub use self::parts::{KeyDifference, KeyPart, KeyParts};
use crate::builder::docker::ResolvedBases;
use crate::definition::requirements::{CanonicalLine, Requirements, canonical_lines};
use crate::definition::{DefinitionError, conda_file, uv_project};
use crate::environment::{CondaPackages, Environment, RequirementsFile, UvProject};
use crate::host::HostVariables;
use crate::interpreter::InterpreterFacts;

/// Goes into every key. A new number makes every environment be built again: to be raised when the
/// same definition is built differently.
const VERSION: &str = "1";

/// Names an environment by what determines it. Text form: 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnvironmentKey(Digest);

impl EnvironmentKey {
    /// Returns the first eight hex digits, for people to read.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.short(8)
    }
}

impl fmt::Display for EnvironmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for EnvironmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnvironmentKey({})", self.0)
    }
}

impl FromStr for EnvironmentKey {
    type Err = InvalidDigest;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        given.parse().map(Self)
    }
}

/// What a definition does not say by itself.
pub(crate) struct Basis<'a> {
    /// Of the interpreter that a virtual environment is based on.
    pub(crate) facts: Option<&'a InterpreterFacts>,
    /// Of the images that an image is built on.
    pub(crate) bases: Option<&'a ResolvedBases>,
    /// The digest of what decides where packages are found and which are chosen; `None` where the
    /// build is not told.
    pub(crate) index_settings: Option<&'a Digest>,
    /// The variables of whoever builds.
    pub(crate) variables: &'a HostVariables,
}

/// Returns the key of `environment` and what it is made of; `None` for one of which nothing is
/// built: the user looks after it, or it is a ready image.
///
/// Names of files, comments, order and time do not count, nor does the tool that builds.
///
/// # Errors
///
/// The definition cannot be understood.
pub(crate) fn key(
    environment: &Environment,
    basis: &Basis<'_>,
) -> Result<Option<KeyParts>, DefinitionError> {
    let mut parts = Parts { collector: Collector::new(), basis };
    parts.put("trainyard environment key", VERSION);
    match environment {
        Environment::UserManaged { .. } => return Ok(None),
        Environment::Requirements { files, .. } => {
            parts.put("kind", "venv");
            parts.interpreter();
            parts.index_settings();
            parts.requirements(files)?;
        }
        Environment::UvProject { project, .. } => {
            parts.put("kind", "uv project");
            parts.interpreter();
            parts.index_settings();
            parts.uv_project(project)?;
        }
        Environment::Conda { packages } => {
            parts.put("kind", "conda");
            parts.put("platform", std::env::consts::ARCH);
            // Where pip finds its packages decides nothing of conda's own.
            if conda_file::pip_files(packages)?.is_some() {
                parts.index_settings();
            }
            parts.conda(packages)?;
        }
        Environment::Docker { docker } => {
            parts.put("kind", "docker");
            if !docker::put(&mut parts, docker)? {
                return Ok(None);
            }
        }
    }
    Ok(Some(parts.collector.finish()))
}

/// Parts as they are put together.
struct Parts<'a> {
    collector: Collector,
    basis: &'a Basis<'a>,
}

impl Parts<'_> {
    fn put(&mut self, name: &str, value: &str) {
        self.collector.put(name, value);
    }

    fn line(&mut self, name: &str, line: CanonicalLine) {
        self.collector.put_as(name, &line.text, line.shown, line.contains);
    }

    fn interpreter(&mut self) {
        let Some(facts) = self.basis.facts else { return };
        self.put("python", &facts.version);
        self.put("implementation", &facts.implementation);
        self.put("platform", &facts.platform);
        self.put("abi", &facts.abi);
        self.put("libc", &facts.libc);
        // The environment links to it. UTF-8: it came as text.
        self.put("base", &facts.base_executable.to_string_lossy());
    }

    fn index_settings(&mut self) {
        if let Some(settings) = self.basis.index_settings {
            self.put("index settings", &settings.to_string());
        }
    }

    fn requirements(&mut self, files: &[RequirementsFile]) -> Result<(), DefinitionError> {
        let requirements = Requirements::check(files)?;
        let variables = self.basis.variables;
        let value = |name: &str| Some(variables.get(name)?.to_string_lossy().into_owned());
        for line in canonical_lines(&requirements, &value) {
            self.line("line", line);
        }
        Ok(())
    }

    fn uv_project(&mut self, project: &UvProject) -> Result<(), DefinitionError> {
        for (name, line) in uv_project::canonical(project)? {
            self.line(name, line);
        }
        Ok(())
    }

    fn conda(&mut self, packages: &CondaPackages) -> Result<(), DefinitionError> {
        let variables = self.basis.variables;
        let value = |name: &str| Some(variables.get(name)?.to_string_lossy().into_owned());
        for line in conda_file::canonical_lines(packages, &value)? {
            self.line("line", line);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
