//! Python interpreters: finding one, and what it says of itself.

mod description_file;
pub(crate) mod probe;
mod pyenv;

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The oldest Python that is served, as (major, minor): the first whose standard library can list
/// installed packages.
pub const OLDEST_PYTHON: (u32, u32) = (3, 8);

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
}

/// Why an interpreter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    /// There is none where one is looked for.
    #[error("no environment is active, and neither python3 nor python is on PATH")]
    NoneFound,
    /// The name is not on `PATH`.
    #[error("no program {name:?} is on PATH")]
    NotOnPath {
        /// The name that was looked for.
        name: PathBuf,
    },
    /// The file is not there.
    #[error("interpreter {path:?} does not exist")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A variable says that an environment is active which has no interpreter.
    #[error("{variable} names {prefix:?} as the active environment, which has no bin/python")]
    ActiveEnvironmentGone {
        /// `VIRTUAL_ENV` or `CONDA_PREFIX`.
        variable: &'static str,
        /// Its value.
        prefix: PathBuf,
    },
    /// It would be another file elsewhere.
    #[error("interpreter {path:?} is not an absolute path")]
    NotAbsolute {
        /// The path.
        path: PathBuf,
    },
    /// It is a directory or not marked as executable.
    #[error("interpreter {path:?} is not an executable file")]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// Paths are stored as text.
    #[error("interpreter path {path:?} is not UTF-8")]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// It could not be started.
    #[error("cannot start interpreter {path:?}")]
    Start {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// It did not answer as a Python does.
    #[error("{path:?} does not answer as a Python does: {said}")]
    NotPython {
        /// The file.
        path: PathBuf,
        /// Its last words, made safe to print.
        said: String,
    },
    /// It is a Python, and too old.
    #[error("{path:?} is Python {version}, but 3.8 or newer is needed")]
    TooOld {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// It takes too long.
    #[error("interpreter {path:?} gave no answer within {seconds} s")]
    TimedOut {
        /// The file.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
}

impl InterpreterError {
    /// Returns what to do next, for the command line to print after the error.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoneFound => "Install Python 3, or name an interpreter with --python.",
            Self::ActiveEnvironmentGone { .. } => {
                "Deactivate the environment, or name an interpreter with --python."
            }
            Self::NotOnPath { .. } | Self::Missing { .. } | Self::NotExecutable { .. } => {
                "Give the path of a Python interpreter, or of a virtual environment."
            }
            Self::TooOld { .. } => "Name a newer interpreter with --python.",
            Self::NotUtf8 { .. }
            | Self::NotAbsolute { .. }
            | Self::Start { .. }
            | Self::NotPython { .. }
            | Self::TimedOut { .. } => return None,
        })
    }
}

/// Finds the interpreter to use.
///
/// That is `choice`, if there is one: a path, a name on `PATH` or the directory of an environment.
/// Else the one of the active environment (`VIRTUAL_ENV`, then `CONDA_PREFIX`), else `python3` or
/// `python` on `PATH`. A shim of pyenv is followed to what it stands for now, since it may stand
/// for something else in another directory. The result is absolute, exists and is executable;
/// symbolic links are kept, as they tell a virtual environment's interpreter from its base.
///
/// # Errors
///
/// [`InterpreterError`] says what is wrong with the one that was chosen.
pub fn find(
    choice: Option<&Path>,
    variables: &dyn Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, InterpreterError> {
    let variable = |name: &str| variables(name).filter(|value| !value.is_empty());
    let search_path = variable("PATH").unwrap_or_default();
    let found = match choice {
        Some(choice) => chosen(choice, &search_path)?,
        None => match active(&variable)? {
            Some(found) => found,
            None => ["python3", "python"]
                .iter()
                .find_map(|name| on_path(OsStr::new(name), &search_path))
                .ok_or(InterpreterError::NoneFound)?,
        },
    };
    let found =
        absolute(&found).map_err(|source| InterpreterError::Start { path: found, source })?;
    let found = if is_script(&found) { pyenv::resolve(&found, &variable)? } else { found };
    if found.to_str().is_none() {
        return Err(InterpreterError::NotUtf8 { path: found });
    }
    Ok(found)
}

/// Finds the interpreter that was named for this machine on another one: an absolute path, one from
/// the home directory on (`~/venv/bin/python`), or a name on `PATH`. A path may be that of the
/// directory of an environment.
///
/// # Errors
///
/// [`InterpreterError`]: there is none of that name, or it is another kind of path.
pub(crate) fn named(
    interpreter: &Path,
    variables: &dyn Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, InterpreterError> {
    let within = |path: PathBuf| {
        let inside = path.join("bin/python");
        if is_executable(&inside) { inside } else { path }
    };
    if interpreter.is_absolute() {
        return Ok(within(interpreter.to_owned()));
    }
    if let Ok(inside) = interpreter.strip_prefix("~")
        && let Some(home) = variables("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
    {
        return Ok(within(home.join(inside)));
    }
    if interpreter.components().count() != 1 {
        return Err(InterpreterError::NotAbsolute { path: interpreter.to_owned() });
    }
    let search_path = variables("PATH").unwrap_or_default();
    let found = on_path(interpreter.as_os_str(), &search_path)
        .ok_or_else(|| InterpreterError::NotOnPath { name: interpreter.to_owned() })?;
    if is_script(&found) { pyenv::resolve(&found, variables) } else { Ok(found) }
}

/// Asks `interpreter` what it is.
///
/// # Errors
///
/// [`InterpreterError`] says what is wrong with it.
pub fn describe(interpreter: &Path) -> Result<InterpreterFacts, InterpreterError> {
    check(interpreter)?;
    probe::facts(interpreter)
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
    check(interpreter)?;
    let stamp = description_file::Stamp::of(interpreter);
    if let Some(facts) = stamp.as_ref().and_then(|stamp| description_file::read(directory, stamp)) {
        return Ok(facts);
    }
    let facts = probe::facts(interpreter)?;
    if let Some(stamp) = stamp
        && let Err(error) = description_file::write(directory, stamp, &facts)
    {
        tracing::debug!(%error, "Could not remember what an interpreter is.");
    }
    Ok(facts)
}

/// Lists the installed packages as `pip freeze` does, `name==version` each.
///
/// Takes some 0.3 s, or up to `deadline`. Passwords in the URLs of packages are left out.
///
/// # Errors
///
/// [`InterpreterError`] says what is wrong with the interpreter.
pub fn packages(interpreter: &Path, deadline: Duration) -> Result<Vec<String>, InterpreterError> {
    check(interpreter)?;
    probe::packages(interpreter, deadline)
}

fn chosen(choice: &Path, search_path: &OsStr) -> Result<PathBuf, InterpreterError> {
    if choice.components().count() == 1 && !choice.has_root() && !choice.is_dir() {
        return on_path(choice.as_os_str(), search_path)
            .or_else(|| is_executable(choice).then(|| choice.to_owned()))
            .ok_or_else(|| InterpreterError::NotOnPath { name: choice.to_owned() });
    }
    let inside = choice.join("bin/python");
    if is_executable(&inside) {
        return Ok(inside);
    }
    check_executable(choice)?;
    Ok(choice.to_owned())
}

fn active(
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Option<PathBuf>, InterpreterError> {
    for name in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        let Some(prefix) = variable(name).map(PathBuf::from) else { continue };
        let interpreter = prefix.join("bin/python");
        if is_executable(&interpreter) {
            return Ok(Some(interpreter));
        }
        return Err(InterpreterError::ActiveEnvironmentGone { variable: name, prefix });
    }
    Ok(None)
}

/// Finds a program by its name.
pub(crate) fn on_path(name: &OsStr, search_path: &OsStr) -> Option<PathBuf> {
    // A relative entry would mean another program in another directory.
    std::env::split_paths(search_path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|path| is_executable(path))
}

fn check(interpreter: &Path) -> Result<(), InterpreterError> {
    if !interpreter.is_absolute() {
        return Err(InterpreterError::NotAbsolute { path: interpreter.to_owned() });
    }
    check_executable(interpreter)
}

fn check_executable(path: &Path) -> Result<(), InterpreterError> {
    if is_executable(path) {
        Ok(())
    } else if path.exists() {
        Err(InterpreterError::NotExecutable { path: path.to_owned() })
    } else {
        Err(InterpreterError::Missing { path: path.to_owned() })
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && &start == b"#!"
}

#[cfg(test)]
mod tests;
