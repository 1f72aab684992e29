//! Which environment a run configuration asks for, before anything is looked up.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The environment that was asked for, as far as the configuration says.
///
/// Paths that came from a file are absolute; those from flags are as typed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum EnvironmentChoice {
    /// Nothing was asked for: whatever the project has, else the current Python.
    #[default]
    Default,
    /// The current Python, whatever packages the project lists: the user looks after it.
    CurrentPython,
    /// A Python interpreter that the user looks after: a path, or a name to find on `PATH`.
    Interpreter {
        /// The path or the name.
        path: PathBuf,
    },
    /// A definition file, such as `requirements.txt`.
    File {
        /// The file.
        path: PathBuf,
    },
    /// An environment that was registered under a name.
    Named {
        /// Its name, as written.
        name: String,
        /// Its version, where one was given.
        version: Option<String>,
    },
    /// Conda packages, listed in a file or, where `file` is `None`, in the configuration itself.
    Conda {
        /// The conda file.
        file: Option<PathBuf>,
    },
    /// A container.
    Docker(DockerChoice),
}

/// The container that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DockerChoice {
    /// The image, unless it is to be built.
    pub image: Option<String>,
    /// The conda file of packages to put on top of the image.
    pub conda_file: Option<PathBuf>,
    /// Extra arguments for `docker run`.
    pub arguments: Vec<String>,
    /// Bytes of `/dev/shm`.
    pub shm_bytes: Option<u64>,
}
