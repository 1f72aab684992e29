//! Environments as asked for, self-contained, and as prepared.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::key::EnvironmentKey;

/// What a run's Python is to be made of.
///
/// Self-contained: it holds the text of every file it needs, so that it can be sent to another
/// machine and kept with the run. It never holds the values of secrets: requirement lines keep
/// `${NAME}` as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Environment {
    /// An interpreter the user looks after. Nothing is built.
    UserManaged {
        /// Absolute path of the interpreter.
        interpreter: PathBuf,
    },
    /// A virtual environment made from a requirements file.
    Requirements {
        /// Absolute path of the interpreter the virtual environment is based on.
        interpreter: PathBuf,
        /// The requirements file, first, and every `-r` and `-c` file it leads to.
        files: Vec<RequirementsFile>,
    },
}

impl Environment {
    /// Returns the interpreter that was asked for.
    #[must_use]
    pub fn interpreter(&self) -> &std::path::Path {
        match self {
            Self::UserManaged { interpreter } | Self::Requirements { interpreter, .. } => {
                interpreter
            }
        }
    }
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
    /// Absolute path of the Python to start.
    pub interpreter: PathBuf,
    /// Its version, as `3.11.7`.
    pub python_version: String,
    /// Its `sys.prefix`.
    pub prefix: PathBuf,
    /// What a process in it has to find in its environment: `VIRTUAL_ENV` or `CONDA_PREFIX`.
    pub variables: BTreeMap<String, String>,
    /// Directories to put first on `PATH`.
    pub path_entries: Vec<PathBuf>,
    /// Whether it was there before it was asked for, or another run built it meanwhile.
    pub reused: bool,
}
