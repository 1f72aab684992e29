//! What the driver of a run puts into its run directory, and reads from it.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use images::environment::PreparedEnvironment;
use runner::base_environment::BaseEnvironment;
use runner::launch::{DEFAULT_GRACE_SECONDS, LAUNCH_VERSION, Launch};
use runner::run_directory::RunDirectory;
use serde::Serialize;
use snapshots::path_error::{IoContext, PathError};
use tracing::error;

use crate::store::RunRow;

/// Who the agent's scripts run as.
#[derive(Clone, Debug)]
pub(crate) struct ScriptUser {
    /// The name.
    pub(crate) name: String,
    /// The home directory.
    pub(crate) home: PathBuf,
    /// The agent's `TZ`.
    pub(crate) time_zone: Option<String>,
    /// What carries out command lines.
    pub(crate) shell: &'static str,
}

impl ScriptUser {
    /// The user that the agent runs as, as the system's user database has it.
    pub(crate) fn current() -> Self {
        let uid = nix::unistd::geteuid();
        let known = nix::unistd::User::from_uid(uid).ok().flatten();
        let (name, home) =
            known.map_or_else(|| (format!("uid{uid}"), "/".into()), |user| (user.name, user.dir));
        // Azure's command jobs are lines for bash.
        let shell = if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
        Self { name, home, time_zone: std::env::var("TZ").ok(), shell }
    }
}

/// Makes the run directory and what is in it before the source comes.
pub(crate) fn create(directory: &RunDirectory) -> Result<(), PathError> {
    let logs = [directory.std_log(), directory.build_log()];
    let inside = logs.iter().filter_map(|path| path.parent());
    for path in std::iter::once(directory.path()).chain(inside) {
        match std::fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.context("create", path)?,
        }
    }
    Ok(())
}

/// Removes the values of secrets of a run that will have no script any more: they are nobody's
/// business.
pub(crate) fn forget_secrets(directory: &RunDirectory) {
    for forgotten in [directory.forget_secrets(), directory.forget_registry_password()] {
        if let Err(error) = forgotten {
            error!(%error, "The secrets of a run that is over are still on the disk.");
        }
    }
}

/// Writes what was asked and what the supervisor is to do.
///
/// Without fsync: the records have what was asked, and a supervisor that reads the other does so
/// before the machine can have been restarted.
pub(crate) fn write_launch(
    directory: &RunDirectory,
    row: &RunRow,
    launch: &Launch,
) -> Result<(), PathError> {
    write_json(&directory.run_json(), &row.request)?;
    write_json(&directory.launch_json(), launch)
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), PathError> {
    let json = serde_json::to_vec_pretty(value).context("encode", path)?;
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, json).context("write", &temporary)?;
    std::fs::rename(&temporary, path).context("rename into", path)
}

/// Works out what the supervisor of `row` is to do. Pure.
pub(crate) fn launch(
    row: &RunRow,
    directory: &RunDirectory,
    environment: &PreparedEnvironment,
    user: &ScriptUser,
) -> Launch {
    let request = &row.request;
    let mut variables = BaseEnvironment {
        run_id: &row.id,
        experiment: &request.experiment,
        directory,
        path_entries: &environment.path_entries,
        home: &user.home,
        user: &user.name,
        time_zone: user.time_zone.as_deref(),
    }
    .variables();
    variables.extend(environment.variables.clone());
    variables.extend(request.environment_variables.0.clone());
    let mut program = match (&request.command, &request.script) {
        (Some(line), _) => [user.shell, "-c", line, user.shell].map(str::to_owned).to_vec(),
        (None, script) => {
            let python = environment.interpreter.to_string_lossy().into_owned();
            std::iter::once(python).chain(script.clone()).collect()
        }
    };
    program.extend(request.arguments.iter().cloned());
    Launch {
        version: LAUNCH_VERSION,
        run_id: row.id.clone(),
        program,
        environment: variables,
        secret_names: request.secrets.0.keys().cloned().collect(),
        working_directory: "work".into(),
        timeout_seconds: request.timeout_seconds,
        grace_seconds: request.grace_seconds.unwrap_or(DEFAULT_GRACE_SECONDS),
        container: None,
    }
}
