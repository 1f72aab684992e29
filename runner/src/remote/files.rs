//! Which files there are on the other side.
//!
//! ```text
//! ~/.trainyard/                 mode 0700
//!   bin/<version>-<digest>/     trainyard: this program
//!   store/  environments/       as in a state directory at home
//!   runs/<run id>/              a run directory, and in it:
//!     owner.json                which agent's it is
//!     prepare.json              what the run needs
//!     prepare.lock              held by the process that prepares it, and keeps its environment
//!     prepared.json             what came of that
//! ```

use std::path::{Path, PathBuf};

use crate::run_directory::RunDirectory;
use crate::run_id::RunId;

/// The files of a run directory that are the same on both sides, each only ever appended to: those
/// that speak of another come after it.
pub const MIRRORED: [&str; 6] = [
    "user_logs/std_log.txt",
    "user_logs/std_log.index",
    "system_logs/environment_build.log",
    "work/logs/metrics.jsonl",
    "events",
    "supervisor.log",
];

/// The state directory on the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteHome {
    path: PathBuf,
}

impl RemoteHome {
    /// Takes `path` as the state directory; `~/.trainyard` as a rule.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns the state directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the object store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Returns what was built.
    #[must_use]
    pub fn environments(&self) -> PathBuf {
        self.path.join("environments")
    }

    /// Returns the run directories.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.path.join("runs")
    }

    /// Returns the directory of one run.
    #[must_use]
    pub fn run(&self, run: &RunId) -> RunDirectory {
        RunDirectory::new(self.runs().join(run.as_str()))
    }

    /// Returns the versions of this program.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        self.path.join("bin")
    }
}
