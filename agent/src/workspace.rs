//! Where the agent keeps its state.
//!
//! ```text
//! $TRAINYARD_HOME          default $XDG_STATE_HOME/trainyard, else ~/.local/state/trainyard
//!   agent.lock             held by the one agent of this directory; says its pid
//!   agent.db  agent.log  agent.sock
//!   draining               while nothing that waits is to be started
//!   store/                 objects and snapshots
//!   users/<uid>/store/     the same of each other user
//!   indexes/               what was read of each source directory
//!   environments/          what was built, by key
//!   runs/<run id>/         one directory per run
//!   identity               tells this state directory from all others
//!   targets/<name>.json    attached machines
//!   credentials/           how they are logged in to; mode 0700, its files 0600
//! ```

pub(crate) mod lock;
pub(crate) mod server;
pub(crate) mod socket_address;

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use runner::durable_file;
use runner::run_directory::RunDirectory;
use runner::run_id::RunId;
use snapshots::path_error::{IoContext, PathError};

use self::server::Server;

/// A state directory and the socket that its agent listens on; and the agent on another machine
/// that is asked in its place, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Workspace {
    home: PathBuf,
    socket: PathBuf,
    server: Option<Server>,
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkspaceError {
    /// Nothing says where the state goes.
    #[error("neither TRAINYARD_HOME, XDG_STATE_HOME nor HOME is set to an absolute path")]
    NoHome,
    /// A variable holds a path that depends on where one stands.
    #[error("{variable} is {path:?}, which is not an absolute path")]
    Relative {
        /// The variable's name.
        variable: &'static str,
        /// What it holds.
        path: PathBuf,
    },
    /// It is no place of an agent.
    #[error("TRAINYARD_SOCKET is not the URL of an agent: {why}")]
    Url {
        /// What is wrong with it.
        why: &'static str,
    },
    /// Another agent has the directory.
    #[error("an agent (pid {pid}) already uses the state directory {home:?}")]
    Locked {
        /// The pid in the lock file, as text: it may not have been written yet.
        pid: String,
        /// The state directory.
        home: PathBuf,
    },
    /// The file system lacks what the database needs.
    #[error("the state directory {home:?} is on a network file system ({kind})")]
    Network {
        /// The state directory.
        home: PathBuf,
        /// The file system's name.
        kind: &'static str,
    },
    /// The file system said no.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl WorkspaceError {
    /// Returns what to do next.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoHome | Self::Relative { .. } => {
                Some("set TRAINYARD_HOME to an absolute path of a directory for trainyard's state")
            }
            Self::Url { .. } => {
                Some("set it as in https://train.example.com:8443, or to the path of a socket")
            }
            Self::Locked { .. } => Some("`trainyard agent stop` ends it; its runs go on"),
            Self::Network { .. } => Some(
                "set TRAINYARD_HOME to a directory on a local disk; the database needs shared memory and locks",
            ),
            Self::Path(_) => None,
        }
    }
}

impl Workspace {
    /// Finds the state directory from the environment: `TRAINYARD_HOME`, else
    /// `$XDG_STATE_HOME/trainyard`, else `~/.local/state/trainyard`. The socket is
    /// `TRAINYARD_SOCKET`, else `agent.sock` in there; or that is the URL of an agent on another
    /// machine. Touches no disk.
    ///
    /// # Errors
    ///
    /// No variable is set, or one holds a relative path.
    pub(crate) fn locate(
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, WorkspaceError> {
        let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let absolute = |name: &'static str, path: PathBuf| {
            if path.is_absolute() {
                Ok(path)
            } else {
                Err(WorkspaceError::Relative { variable: name, path })
            }
        };
        // The XDG rules say that a relative XDG_STATE_HOME is to be ignored.
        let state = set("XDG_STATE_HOME").filter(|path| path.is_absolute());
        let home = if let Some(home) = set("TRAINYARD_HOME") {
            absolute("TRAINYARD_HOME", home)?
        } else if let Some(state) = state {
            state.join("trainyard")
        } else {
            let user = set("HOME").ok_or(WorkspaceError::NoHome)?;
            absolute("HOME", user)?.join(".local/state/trainyard")
        };
        let mut workspace = Self::at(home);
        if let Some(socket) = set("TRAINYARD_SOCKET") {
            match socket.to_str().filter(|text| server::is_url(text)) {
                Some(url) => {
                    let set = |name| set(name).map(PathBuf::into_os_string);
                    workspace.server = Some(Server::at(url, &set)?);
                }
                None => workspace.socket = absolute("TRAINYARD_SOCKET", socket)?,
            }
        }
        Ok(workspace)
    }

    /// Takes `home` as the state directory, with the socket in it.
    pub(crate) fn at(home: PathBuf) -> Self {
        let socket = home.join("agent.sock");
        Self { home, socket, server: None }
    }

    /// Creates the directories that are not there, for their owner only.
    ///
    /// # Errors
    ///
    /// One cannot be created.
    pub(crate) fn create(&self) -> Result<(), WorkspaceError> {
        if let Some(parent) = self.home.parent() {
            std::fs::create_dir_all(parent).context("create", parent)?;
        }
        for directory in
            [self.home.clone(), self.store(), self.indexes(), self.environments(), self.runs()]
        {
            match DirBuilder::new().mode(0o700).create(&directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.context("create", &directory)?,
            }
        }
        Ok(())
    }

    /// Says whether it is that of the machine's service, by the directory that its unit names.
    pub(crate) fn is_of_service(&self) -> bool {
        self.home == Path::new("/var/lib/trainyard")
    }

    /// The state directory.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The state directory as it is written on what is made in a container engine: the same
    /// however it was named.
    pub(crate) fn label(&self) -> String {
        let home = self.home.canonicalize().unwrap_or_else(|_| self.home.clone());
        home.to_string_lossy().into_owned()
    }

    /// The socket that the agent listens on.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The agent on another machine that is asked, if it is not the one here.
    pub(crate) fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// The agent's records.
    pub(crate) fn database(&self) -> PathBuf {
        self.home.join("agent.db")
    }

    /// The agent's log.
    pub(crate) fn log(&self) -> PathBuf {
        self.home.join("agent.log")
    }

    /// The file whose lock says that an agent is at work.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.home.join("agent.lock")
    }

    /// The object store.
    pub(crate) fn store(&self) -> PathBuf {
        self.home.join("store")
    }

    /// What is kept for each user who is not the agent's own.
    pub(crate) fn users(&self) -> PathBuf {
        self.home.join("users")
    }

    /// The indexes of source directories.
    pub(crate) fn indexes(&self) -> PathBuf {
        self.home.join("indexes")
    }

    /// The environments that were built.
    pub(crate) fn environments(&self) -> PathBuf {
        self.home.join("environments")
    }

    /// The directory of one run.
    pub(crate) fn run_directory(&self, run: &RunId) -> RunDirectory {
        RunDirectory::new(self.runs().join(run.as_str()))
    }

    /// Returns where it is kept which machines are attached.
    pub(crate) fn targets(&self) -> PathBuf {
        self.home.join("targets")
    }

    /// Returns where it is kept how attached machines are logged in to.
    pub(crate) fn credentials(&self) -> PathBuf {
        self.home.join("credentials")
    }

    /// Returns whose runs those of this state directory are, for machines that several agents use:
    /// a random text that is made once, whatever becomes of names and addresses.
    ///
    /// # Errors
    ///
    /// The file that keeps it cannot be made or read.
    pub(crate) fn owner(&self) -> Result<String, PathError> {
        let file = self.home.join("identity");
        durable_file::create_new(&file, format!("{:032x}", rand::random::<u128>()).as_bytes())?;
        std::fs::read_to_string(&file).context("read", &file)
    }

    /// The file that says that the agent drains.
    pub(crate) fn draining(&self) -> PathBuf {
        self.home.join("draining")
    }

    /// The run directories.
    pub(crate) fn runs(&self) -> PathBuf {
        self.home.join("runs")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn located(variables: &[(&str, &str)]) -> Result<Workspace, WorkspaceError> {
        Workspace::locate(&|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn the_state_directory_is_the_first_that_is_set() {
        let home = |variables: &[(&str, &str)]| located(variables).unwrap().home().to_owned();

        assert_eq!(
            home(&[("TRAINYARD_HOME", "/t"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")]),
            Path::new("/t")
        );
        assert_eq!(home(&[("XDG_STATE_HOME", "/x"), ("HOME", "/h")]), Path::new("/x/trainyard"));
        assert_eq!(home(&[("HOME", "/h")]), Path::new("/h/.local/state/trainyard"));
        assert_eq!(
            home(&[("TRAINYARD_HOME", ""), ("XDG_STATE_HOME", "x"), ("HOME", "/h")]),
            Path::new("/h/.local/state/trainyard")
        );
    }

    #[test]
    fn the_socket_can_be_elsewhere() {
        let workspace =
            located(&[("TRAINYARD_HOME", "/t"), ("TRAINYARD_SOCKET", "/s/a.sock")]).unwrap();

        assert_eq!(workspace.socket(), Path::new("/s/a.sock"));
        assert_eq!(
            located(&[("TRAINYARD_HOME", "/t")]).unwrap().socket(),
            Path::new("/t/agent.sock")
        );
    }

    #[test]
    fn relative_and_missing_homes_are_refused() {
        let told = |variables: &[(&str, &str)]| {
            let error = located(variables).unwrap_err();
            format!("{error}\n{}", error.hint().unwrap())
        };

        insta::assert_snapshot!(told(&[("TRAINYARD_HOME", "state")]), @r#"
        TRAINYARD_HOME is "state", which is not an absolute path
        set TRAINYARD_HOME to an absolute path of a directory for trainyard's state
        "#);
        insta::assert_snapshot!(told(&[]), @r#"
        neither TRAINYARD_HOME, XDG_STATE_HOME nor HOME is set to an absolute path
        set TRAINYARD_HOME to an absolute path of a directory for trainyard's state
        "#);
    }

    #[test]
    fn directories_are_made_for_their_owner_only() {
        let parent = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(parent.path().join("deep/state"));

        workspace.create().unwrap();
        workspace.create().unwrap();

        for directory in [
            workspace.home().to_owned(),
            workspace.store(),
            workspace.indexes(),
            workspace.environments(),
            workspace.runs(),
        ] {
            let mode = directory.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{directory:?}");
        }
    }
}
