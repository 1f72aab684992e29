//! Environments as asked for, self-contained, and as prepared.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use snapshots::digest::Digest;

use crate::key::EnvironmentKey;

/// What a run's Python is to be made of.
///
/// Self-contained: it holds the text of every file it needs, so that it can be sent to another
/// machine and kept with the run. It never holds the values of secrets: requirement lines keep
/// `${NAME}` as it was written, and a registry's password travels apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Environment {
    /// An interpreter the user looks after. Nothing is built.
    UserManaged {
        /// The interpreter, where the run is to be: its absolute path, one that begins with `~/`,
        /// or a name on `PATH` there.
        interpreter: PathBuf,
    },
    /// A virtual environment made from a requirements file.
    Requirements {
        /// The interpreter the virtual environment is based on, as that of
        /// [`UserManaged`](Self::UserManaged).
        interpreter: PathBuf,
        /// The requirements file, first, and every `-r` and `-c` file it leads to.
        files: Vec<RequirementsFile>,
    },
    /// A virtual environment with the dependencies of a `pyproject.toml`.
    UvProject {
        /// The interpreter the virtual environment is based on, as that of
        /// [`UserManaged`](Self::UserManaged).
        interpreter: PathBuf,
        /// The project.
        project: UvProject,
    },
    /// A conda environment.
    Conda {
        /// What is in it.
        packages: CondaPackages,
    },
    /// A container of an image, as it is or with packages on top.
    Docker {
        /// What it is made of.
        docker: Box<DockerEnvironment>,
    },
}

impl Environment {
    /// Returns the interpreter of this machine that was asked for, if it is one of this machine.
    #[must_use]
    pub fn interpreter(&self) -> Option<&std::path::Path> {
        match self {
            Self::UserManaged { interpreter }
            | Self::Requirements { interpreter, .. }
            | Self::UvProject { interpreter, .. } => Some(interpreter),
            Self::Conda { .. } | Self::Docker { .. } => None,
        }
    }

    /// Returns the snapshot that its Dockerfile sees, if it has one: the object store has to have
    /// it for a build.
    #[must_use]
    pub fn build_context(&self) -> Option<Digest> {
        match self {
            Self::Docker { docker } => match &docker.base {
                DockerBase::Dockerfile { context, .. } => *context,
                DockerBase::Image { .. } => None,
            },
            _ => None,
        }
    }
}

/// The dependencies of a Python project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UvProject {
    /// The text of `pyproject.toml`.
    pub pyproject: String,
    /// The text of `uv.lock`, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
}

/// What a conda file lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CondaPackages {
    /// Its name, as `conda.yml`: for people.
    pub name: String,
    /// The text of the file.
    pub text: String,
    /// The requirements files that its pip section leads to (`-r FILE`), by their names there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<RequirementsFile>,
    /// The directory that relative channels are relative to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
}

/// What a container is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerEnvironment {
    /// What it starts from.
    pub base: DockerBase,
    /// As `linux/amd64`. Default: the engine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// What is put on top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<DockerPackages>,
    /// The Python of the image: a path or a name in it. Default: `python`, else `python3`. What is
    /// put on top brings or makes its own from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// Who to log in as where the image is pulled from. The password travels apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryUser>,
}

/// What an image starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum DockerBase {
    /// A ready image.
    Image {
        /// As `python:3.11-slim` or `registry/name@sha256:…`.
        reference: String,
    },
    /// The user's own Dockerfile.
    Dockerfile {
        /// Its name within the context, for people and messages.
        name: String,
        /// Its text.
        text: String,
        /// The build context: a snapshot that the object store has. `None`: an empty one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        context: Option<Digest>,
        /// Values for its `ARG` lines.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        build_arguments: BTreeMap<String, String>,
        /// The stage to build. Default: the last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<String>,
    },
}

/// What is put on top of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum DockerPackages {
    /// A requirements file, for the image's Python.
    Requirements {
        /// As in [`Environment::Requirements`].
        files: Vec<RequirementsFile>,
    },
    /// A `pyproject.toml`, for the image's Python.
    UvProject {
        /// The project.
        project: UvProject,
    },
    /// A conda environment, with a Python of its own.
    Conda {
        /// What is in it.
        packages: CondaPackages,
    },
}

/// A user of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryUser {
    /// The registry, as `registry.example.com:5000`.
    pub address: String,
    /// The user.
    pub username: String,
}

/// One requirements or constraints file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequirementsFile {
    /// Its path relative to the directory of the first file, normalised; absolute where the file
    /// that names it says so.
    pub name: String,
    /// Its text, as it is on disk.
    pub text: String,
}

/// An environment that a run can use now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreparedEnvironment {
    /// The key it is kept under, if it was built by us. See
    /// [`EnvironmentCache::lease`](crate::cache::EnvironmentCache::lease).
    pub key: Option<EnvironmentKey>,
    /// For people: `requirements.txt → venv 5e1f20ab`.
    pub name: String,
    /// Absolute path of the Python to start. In a container: a path or a name within it.
    pub interpreter: PathBuf,
    /// Its version, as `3.11.7`, if it is known.
    pub python_version: Option<String>,
    /// Its `sys.prefix`; in a container that within it, if it is known.
    pub prefix: PathBuf,
    /// What a process in it has to find in its environment: `VIRTUAL_ENV` or `CONDA_PREFIX`.
    pub variables: BTreeMap<String, String>,
    /// Directories to put first on `PATH`.
    pub path_entries: Vec<PathBuf>,
    /// Whether it was there before it was asked for, or another run built it meanwhile.
    pub reused: bool,
    /// The image of its containers, where it is a container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PreparedImage>,
    /// What was resolved when it was built: one file or several, each of which builds it again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lock: Vec<RequirementsFile>,
}

/// An image that the engine has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreparedImage {
    /// Its id: `sha256:…`.
    pub id: String,
    /// What it was asked for as, or our own name of what we built.
    pub reference: String,
    /// The digest that a registry knows it by, as `name@sha256:…`, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The same of the image it was built on, or its id where no registry knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_digest: Option<String>,
    /// As `linux/amd64`.
    pub platform: String,
    /// The `PATH` it sets, if it sets one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search_path: Option<String>,
}
