//! Builds that did not work, and why.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use snapshots::path_error::PathError;

use crate::context::ContextError;
use crate::definition::{DefinitionError, Place};
use crate::dockerfile;
use crate::engine::EngineError;
use crate::interpreter::InterpreterError;
use crate::progress::Progress;

/// How many of the last lines of the log are told with a failure.
const LAST_LINES: usize = 12;

/// How long a line is told.
const LINE_CHARACTERS: usize = 300;

/// A build that a tool gave up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedBuild {
    /// What could not be done: "pip could not install the requirements (exit code 1)".
    pub what: String,
    /// Why, as far as the log tells.
    pub cause: FailureCause,
    /// The last lines of the log, safe to print.
    pub last_lines: Vec<String>,
}

/// Why a build failed, guessed from what the tool said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum FailureCause {
    /// The base interpreter cannot put pip into a virtual environment, as Debian ships it.
    NoEnsurepip {
        /// The package that brings what is missing.
        package: String,
    },
    /// No space was left.
    DiskFull,
    /// An index could not be reached.
    NoNetwork,
    /// A channel of conda packages could not be read.
    NoChannel,
    /// There is nothing that makes conda environments.
    NoConda,
    /// No packages satisfy all the requirements.
    Unresolvable,
    /// An image that is built on cannot be pulled.
    NoImage,
    /// The image that packages are put on has no Python.
    NoPython,
    /// The Python of the image that packages are put on brings no `venv`.
    NoVenv,
    /// A conda environment without pip, that packages of pip are put into.
    NoPip,
    /// None of these.
    Other,
}

/// Why an environment was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A tool gave up.
    #[error("{}", .0.what)]
    Failed(FailedBuild),
    /// It was asked to stop.
    #[error("the build was cancelled")]
    Cancelled,
    /// A requirement names a variable that is not set.
    #[error("{place} uses ${{{name}}}, which is not set where the build runs")]
    Variable {
        /// The variable.
        name: String,
        /// The first line that names it.
        place: Place,
    },
    /// Only uv can build it.
    #[error("uv is needed for this project, and is neither on PATH nor could be fetched")]
    NoUv,
    /// A tool could not be started or followed.
    #[error("cannot run {program:?}")]
    Run {
        /// The tool.
        program: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The definition cannot be used.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// The engine did not do its part.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What an image is built from could not be sent to the engine.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// What was built is not a usable Python.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
}

impl FailureCause {
    /// Guesses the cause from `log`. The tools have no codes for it, only words.
    pub(crate) fn guess(log: &str, python_version: &str) -> Self {
        let has = |words: &[&str]| words.iter().any(|word| log.contains(word));
        // Not within the text of a step, which engines repeat.
        let says = |words: &str| log.lines().any(|line| line.starts_with(words));
        if has(&[
            "No space left on device",
            "no space left on device",
            "os error 28",
            "Disk quota exceeded",
        ]) {
            Self::DiskFull
        } else if says(dockerfile::NO_VENV) {
            Self::NoVenv
        } else if says(dockerfile::NO_PYTHON) {
            Self::NoPython
        } else if says(dockerfile::NO_PIP) {
            Self::NoPip
        } else if has(&["ensurepip is not available", "No module named ensurepip"]) {
            let minor: Vec<&str> = python_version.split('.').take(2).collect();
            Self::NoEnsurepip { package: format!("python{}-venv", minor.join(".")) }
        } else if has(&[
            "Failed to establish a new connection",
            "Temporary failure in name resolution",
            "Name or service not known",
            "Connection refused",
            "dns error",
            "error sending request",
            "tcp connect error",
            "Network is unreachable",
            "Could not resolve host",
            "Could not connect to server",
            "CondaHTTPError",
            "HTTP 000 CONNECTION FAILED",
            "UnavailableInvalidChannel",
            "network was disabled",
            "i/o timeout",
            "TLS handshake timeout",
        ]) {
            Self::NoNetwork
        } else if has(&[
            "pull access denied",
            "manifest unknown",
            "failed to resolve source metadata",
        ]) {
            Self::NoImage
        } else if has(&[
            "No matching distribution found",
            "ResolutionImpossible",
            "No solution found when resolving",
            "Could not solve for environment specs",
            "LibMambaUnsatisfiableError",
            "UnsatisfiableError",
            "PackagesNotFoundError",
            "ResolvePackageNotFound",
        ]) {
            Self::Unresolvable
        } else {
            Self::Other
        }
    }

    /// Returns what to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoEnsurepip { package } => format!(
                "Install it with: apt install {package} (or put uv on PATH, which does without)."
            ),
            Self::DiskFull => "Free space; `trainyard gc` may find some.".to_owned(),
            Self::NoNetwork => {
                "Check the network, the proxy and the index settings where the agent runs."
                    .to_owned()
            }
            Self::NoChannel => {
                "Check the network and the channels (a directory can be one), or take the packages \
                 of the same names from pip with --conda-from-pip."
                    .to_owned()
            }
            Self::NoConda => {
                "Put micromamba on PATH where the agent runs, or take the packages of the same \
                 names from pip with --conda-from-pip."
                    .to_owned()
            }
            Self::Unresolvable => {
                "Check names and versions, and that the index can be reached and serves this Python."
                    .to_owned()
            }
            Self::NoImage => "Check the image's name, and log in to its registry with `docker login`."
                .to_owned(),
            Self::NoPython => {
                "Use an image with Python, as python:3.11-slim, or name its interpreter; a conda \
                 environment brings its own."
                    .to_owned()
            }
            Self::NoVenv => {
                "Use an image whose Python has venv and pip: on Debian and Ubuntu that takes the \
                 package python3-venv."
                    .to_owned()
            }
            Self::NoPip => "Add pip to the conda dependencies.".to_owned(),
            Self::Other => return None,
        })
    }
}

/// Returns the last lines of `log`, without what could move a cursor.
pub(crate) fn last_lines(log: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(log);
    let tells = |line: &&str| !line.trim().is_empty() && Progress::parse(line).is_none();
    let lines: Vec<&str> = text.lines().filter(tells).collect();
    let start = lines.len().saturating_sub(LAST_LINES);
    lines[start..].iter().map(|line| printable(line)).collect()
}

/// Leaves out control characters, and the colours that start with one.
fn printable(line: &str) -> String {
    let mut kept = String::new();
    let mut rest = line.trim_end().chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            // A sequence ends with its first letter.
            rest.by_ref().find(char::is_ascii_alphabetic);
        } else if !c.is_control() || c == '\t' {
            kept.push(c);
        }
    }
    kept.chars().take(LINE_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_guessed_from_what_tools_say() {
        let cases = [
            "OSError: [Errno 28] No space left on device",
            "error: failed to write: No space left on device (os error 28)",
            "... because ensurepip is not\navailable. No module named ensurepip",
            "Retrying ... NewConnectionError: Failed to establish a new connection\n\
             ERROR: No matching distribution found for x",
            "error: Failed to fetch\n  Caused by: dns error",
            "ERROR: No matching distribution found for x",
            "  × No solution found when resolving dependencies:",
            "error: subprocess-exited-with-error",
            "write /var/lib/docker/tmp/x: no space left on device",
            "trainyard: the image has no python and no python3",
            "ensurepip\ntrainyard: the Python of the image cannot make virtual environments",
            "trainyard: the conda environment has no pip",
            "pull access denied for x, repository does not exist or may require 'docker login'",
            "Get https://registry/v2/: net/http: TLS handshake timeout",
        ];

        let causes: Vec<String> =
            cases.iter().map(|log| format!("{:?}", FailureCause::guess(log, "3.11.2"))).collect();

        insta::assert_snapshot!(causes.join("\n"), @r#"
        DiskFull
        DiskFull
        NoEnsurepip { package: "python3.11-venv" }
        NoNetwork
        NoNetwork
        Unresolvable
        Unresolvable
        Other
        DiskFull
        NoPython
        NoVenv
        NoPip
        NoImage
        NoNetwork
        "#);
    }

    #[test]
    fn last_lines_are_few_and_cannot_move_the_cursor() {
        let mut log: Vec<u8> = (0..50).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        log.extend_from_slice(b"progress 1/2 bytes: Pulling a\n");
        log.extend_from_slice(b"\n\x1b[31mred\x1b[0m \x1b[2Jand\x08 \xff\n");

        let lines = last_lines(&log);

        assert_eq!(lines.len(), LAST_LINES);
        assert_eq!(lines[0], "line 39");
        assert_eq!(lines[LAST_LINES - 1], "red and \u{fffd}");
    }
}
