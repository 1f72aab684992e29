//! What builds an environment.

pub(crate) mod conda;
pub(crate) mod docker;
mod failure;
mod index_settings;
mod install;
mod requirements_files;
mod settings;
mod steps;
mod uv;
mod uv_export;
pub(crate) mod uv_project;
mod variables;
pub mod venv;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use snapshots::store::local::LocalStore;

use crate::environment::{PreparedImage, RequirementsFile};
use crate::host::HostVariables;
use crate::interpreter::InterpreterFacts;
use crate::key::EnvironmentKey;

pub use self::failure::{BuildError, FailedBuild, FailureCause};
pub(crate) use self::index_settings::IndexSettings;
pub use self::settings::BuildSettings;

/// Where and with what an environment is built.
pub(crate) struct Workshop<'a> {
    pub(crate) key: EnvironmentKey,
    pub(crate) host: &'a HostVariables,
    pub(crate) index: &'a IndexSettings,
    pub(crate) settings: &'a BuildSettings,
    /// Nothing of earlier builds is used: what is resolved is resolved again.
    pub(crate) fresh: bool,
    /// Exists and is empty.
    pub(crate) directory: &'a Path,
    /// Where uv and others may be if they are not on `PATH`.
    pub(crate) tools: &'a Path,
    /// Where the contexts of Dockerfiles are.
    pub(crate) objects: Option<&'a LocalStore>,
    /// The state directory, as a label on what is made in an engine.
    pub(crate) home: &'a str,
}

/// Who is told what while it is built.
pub(crate) struct Watch<'a> {
    /// Gets the output as it comes, lines of [`Progress`](crate::progress::Progress) among it.
    pub(crate) log: &'a mut dyn FnMut(&[u8]),
    /// A variable, and its value, that all processes of the build get.
    pub(crate) marker: (&'a str, &'a str),
    pub(crate) cancel: &'a AtomicBool,
}

/// What was built.
#[derive(Debug)]
pub(crate) struct Built {
    /// What its Python says of itself, where it is one of this machine.
    pub(crate) python: Option<InterpreterFacts>,
    /// The version of its Python, if it has one.
    pub(crate) python_version: Option<String>,
    /// As `pip freeze` and `conda list` say it.
    pub(crate) packages: Vec<String>,
    /// What was resolved: files that build the same again.
    pub(crate) lock: Vec<RequirementsFile>,
    /// As `uv 0.13.8`.
    pub(crate) built_by: String,
    /// Of a container.
    pub(crate) image: Option<BuiltImage>,
}

/// An image that was built.
#[derive(Debug)]
pub(crate) struct BuiltImage {
    pub(crate) image: PreparedImage,
    /// The Python to start in it: a path or a name.
    pub(crate) interpreter: String,
    /// The `sys.prefix` of that, if known.
    pub(crate) prefix: String,
    /// The text that it was built by.
    pub(crate) dockerfile: String,
    /// Bytes that it takes beyond its base.
    pub(crate) bytes: u64,
}
