//! Which files there are on the other side.
//!
//! ```text
//! ~/.trainyard/                 mode 0700
//!   bin/<version>-<digest>/     trainyard: this program
//!   machine-id                  tells the machine from others, where /etc/machine-id does not
//!   store/  environments/       as in a state directory at home
//!   runs/.gone-*                a run directory on its way out
//!   runs/<run id>/              a run directory, and in it:
//!     owner.json                which agent's it is
//!     prepare.json              what the run needs
//!     prepare.lock              held by the process that prepares it, and keeps its environment
//!     prepare.log               what that process had to say
//!     prepare.tries             in which boots it was begun, a line each
//!     prepared.json             what came of that
//!     start.lock                held while the run is started, settled or removed
//! ```

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use snapshots::path_error::{IoContext as _, PathError};

use crate::run_directory::RunDirectory;
use crate::run_id::RunId;
use crate::script_user::ScriptUser;

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

    /// Finds the state directory of this user: `TRAINYARD_REMOTE_HOME`, or `~/.trainyard`.
    #[must_use]
    pub fn of_this_user() -> Self {
        let home = |variable| std::env::var_os(variable).filter(|path| !path.is_empty());
        Self::at(home("TRAINYARD_REMOTE_HOME").map_or_else(
            || {
                let user = home("HOME").map_or_else(|| ScriptUser::current().home, PathBuf::from);
                user.join(".trainyard")
            },
            PathBuf::from,
        ))
    }

    /// Makes the state directory, for its owner only. What is there already stays as it is.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn create(&self) -> Result<(), PathError> {
        for path in [&self.path, &self.runs()] {
            let mut builder = DirBuilder::new();
            builder.mode(0o700).recursive(true).create(path).context("create", path)?;
        }
        Ok(())
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

    /// Returns the id of a machine that has none of its own.
    pub(super) fn machine_id(&self) -> PathBuf {
        self.path.join("machine-id")
    }

    /// Returns the versions of this program.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        self.path.join("bin")
    }
}
