//! Python interpreters: finding one, and what it says of itself.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What an interpreter says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InterpreterFacts {
    /// As `3.11.7`, or `3.14.0rc1`.
    pub version: String,
    /// As `CPython` or `PyPy`.
    pub implementation: String,
    /// `sys.executable`.
    pub executable: PathBuf,
    /// `sys.prefix`: of the virtual environment, if it is in one.
    pub prefix: PathBuf,
    /// `sys.base_prefix`: of the Python that a virtual environment is based on.
    pub base_prefix: PathBuf,
    /// The executable of that Python, without symbolic links.
    pub base_executable: PathBuf,
    /// As `linux-x86_64`.
    pub platform: String,
    /// As `cpython-311-x86_64-linux-gnu`.
    pub abi: String,
    /// As `glibc 2.36`; empty where the system does not say.
    pub libc: String,
    /// Whether `python -m venv` can put pip into what it makes.
    pub has_ensurepip: bool,
    /// Whether pip is there.
    pub has_pip: bool,
}

/// Why an interpreter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    /// There is none where one is looked for.
    #[error(
        "no Python was found: no environment is active, and neither python3 nor python is on PATH"
    )]
    NoneFound,
}

/// Finds the interpreter to use.
///
/// # Errors
///
/// [`InterpreterError`] says what is wrong with the one that was chosen.
pub fn find(
    choice: Option<&Path>,
    variables: &dyn Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, InterpreterError> {
    let _ = (choice, variables);
    Err(InterpreterError::NoneFound)
}

/// Asks `interpreter` what it is.
///
/// # Errors
///
/// [`InterpreterError`] says what is wrong with it.
pub fn describe(interpreter: &Path) -> Result<InterpreterFacts, InterpreterError> {
    let _ = interpreter;
    Err(InterpreterError::NoneFound)
}

/// Like [`describe`], but remembers the answer in a small file in `directory`, so that asking again
/// starts no process while the interpreter's file and virtual environment stay the same.
///
/// # Errors
///
/// As for [`describe`]; a directory that cannot be used costs time only.
pub fn describe_cached(
    interpreter: &Path,
    directory: &Path,
) -> Result<InterpreterFacts, InterpreterError> {
    let _ = directory;
    describe(interpreter)
}

/// Lists the installed packages as `pip freeze` does, `name==version` each.
///
/// Takes some 0.3 s, or up to `deadline`.
///
/// # Errors
///
/// [`InterpreterError`] says what is wrong with the interpreter.
pub fn packages(interpreter: &Path, deadline: Duration) -> Result<Vec<String>, InterpreterError> {
    let _ = (interpreter, deadline);
    Err(InterpreterError::NoneFound)
}
