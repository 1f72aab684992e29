//! The run directory: which file is where, and how each is written.

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

use snapshots::path_error::{IoContext as _, PathError};

use crate::durable_file;

mod attempts;

/// The directory of one run. Names, as a rule: little here touches the disk.
///
/// ```text
/// run.json                                what was asked, resolved        agent, atomically
/// launch.json                             program, environment, limits    agent, atomically
/// secrets.json                            names and values, mode 0600     agent; unlinked by the
///                                                                         supervisor before start
/// registry.json                           a password, mode 0600           agent; unlinked when the
///                                                                         environment is there
/// secrets.kept.json, registry.kept.json   the same, for attempts to come  agent, mode 0600
/// attempts/N/                             all of these that attempt N left
/// cancel.json                             who wants the run to end        agent, atomically
/// supervisor.json                         who supervises, made once       supervisor
/// events                                  one JSON line per change        supervisor, appended
/// exit.json                               why it ended; it is over        supervisor, atomically
/// supervisor.log                          what the supervisor itself said
/// work/                                   the snapshot; where the script runs
/// work/outputs/, work/logs/               made before the script starts
/// tmp/                                    the script's TMPDIR, removed at the end
/// io/                                     a container's pipes, removed at the end
/// user_logs/std_log.txt                   both streams as the user would see them
/// user_logs/std_log.index                 which bytes came from which stream, and when
/// system_logs/environment_build.log       how the environment was built
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// Names the run directory at `path`, which need not exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns the directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the agent's state: where the directory of the runs is.
    #[must_use]
    pub fn state(&self) -> &Path {
        self.path.ancestors().nth(2).unwrap_or_else(|| Path::new("/"))
    }

    /// Makes the directory and those in it that are there before the source comes, for their owner
    /// only. What is there already stays.
    ///
    /// # Errors
    ///
    /// One cannot be made.
    pub fn create(&self) -> Result<(), PathError> {
        let logs = [self.std_log(), self.build_log()];
        let inside = logs.iter().filter_map(|path| path.parent());
        for path in std::iter::once(self.path()).chain(inside) {
            match fs::DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.context("create", path)?,
            }
        }
        Ok(())
    }

    /// Removes the directory with all that is in it, also directories that cannot be entered, as a
    /// script may leave. Follows no link. That there is none is as good.
    ///
    /// # Errors
    ///
    /// Something cannot be removed: it belongs to somebody else.
    pub fn remove(&self) -> Result<(), PathError> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                open_up(&self.path)?;
                fs::remove_dir_all(&self.path).context("remove", &self.path)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.context("remove", &self.path),
        }
    }

    /// Returns the snapshot's place, and the script's working directory.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// Returns where the script leaves what is to be kept.
    #[must_use]
    pub fn outputs(&self) -> PathBuf {
        self.path.join("work/outputs")
    }

    /// Returns where the script leaves its own logs and `metrics.jsonl`.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.path.join("work/logs")
    }

    /// Returns the file in which a script may write metrics, one JSON object a line.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.path.join("work/logs/metrics.jsonl")
    }

    /// Returns the default place of the script's temporary files.
    #[must_use]
    pub fn temporary(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Returns the place of the pipes that a container writes into.
    #[must_use]
    pub fn io(&self) -> PathBuf {
        self.path.join("io")
    }

    /// Returns the log: both streams as the user would see them.
    #[must_use]
    pub fn std_log(&self) -> PathBuf {
        self.path.join("user_logs/std_log.txt")
    }

    /// Returns the log's index: which bytes came from which stream, and when.
    #[must_use]
    pub fn std_log_index(&self) -> PathBuf {
        self.path.join("user_logs/std_log.index")
    }

    /// Returns the log of the environment's build.
    #[must_use]
    pub fn build_log(&self) -> PathBuf {
        self.path.join("system_logs/environment_build.log")
    }

    /// Returns what was asked for, resolved.
    #[must_use]
    pub fn run_json(&self) -> PathBuf {
        self.path.join("run.json")
    }

    /// Returns what the supervisor is to do.
    #[must_use]
    pub fn launch_json(&self) -> PathBuf {
        self.path.join("launch.json")
    }

    /// Returns why the run ended; the file exists when it has.
    #[must_use]
    pub fn exit_json(&self) -> PathBuf {
        self.path.join("exit.json")
    }

    /// Returns the list of changes, one JSON object a line.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.path.join("events")
    }

    /// Returns who supervises the run; made once.
    #[must_use]
    pub fn supervisor_json(&self) -> PathBuf {
        self.path.join("supervisor.json")
    }

    /// Returns what the supervisor itself had to say.
    #[must_use]
    pub fn supervisor_log(&self) -> PathBuf {
        self.path.join("supervisor.log")
    }

    /// Returns the request to end the run.
    #[must_use]
    pub fn cancel_json(&self) -> PathBuf {
        self.path.join("cancel.json")
    }

    /// Returns the run's secrets, gone before the script starts.
    #[must_use]
    pub fn secrets_json(&self) -> PathBuf {
        self.path.join("secrets.json")
    }

    /// Returns the run's secrets as they are kept for attempts to come.
    #[must_use]
    pub fn kept_secrets_json(&self) -> PathBuf {
        self.path.join("secrets.kept.json")
    }

    /// Returns the password for the registry of the run's image as it is kept for attempts to come.
    #[must_use]
    pub fn kept_registry_json(&self) -> PathBuf {
        self.path.join("registry.kept.json")
    }

    /// Gives the next attempt the secrets and the password that are kept. The last one has them
    /// alone.
    ///
    /// # Errors
    ///
    /// They are still kept. Call it again.
    pub fn hand_out_kept(&self, is_last: bool) -> Result<(), PathError> {
        let files = [
            (self.kept_secrets_json(), self.secrets_json()),
            (self.kept_registry_json(), self.registry_json()),
        ];
        for (kept, given) in files {
            match fs::read(&kept) {
                Ok(_) if is_last => fs::rename(&kept, &given).context("rename into", &given)?,
                Ok(bytes) => durable_file::write(&given, &bytes)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).context("read", &kept),
            }
        }
        Ok(())
    }

    /// Removes what is kept for attempts to come: there will be none.
    ///
    /// # Errors
    ///
    /// [`PathError`]: a file is still there. Say so.
    pub fn forget_kept(&self) -> Result<(), PathError> {
        let secrets = remove(&self.kept_secrets_json());
        // The other goes whatever came of the first.
        let password = remove(&self.kept_registry_json());
        secrets?;
        password
    }

    /// Removes the run's secrets, if they are still there: once the script has them, and when it
    /// is certain that it never will.
    ///
    /// # Errors
    ///
    /// [`PathError`]: the file is still there. Say so.
    pub fn forget_secrets(&self) -> Result<(), PathError> {
        remove(&self.secrets_json())
    }

    /// Returns the password for the registry of the run's image, gone once that is there.
    #[must_use]
    pub fn registry_json(&self) -> PathBuf {
        self.path.join("registry.json")
    }

    /// Removes the registry's password, if it is still there: once the environment is prepared,
    /// and when it is certain that it never will be.
    ///
    /// # Errors
    ///
    /// [`PathError`]: the file is still there. Say so.
    pub fn forget_registry_password(&self) -> Result<(), PathError> {
        remove(&self.registry_json())
    }
}

/// Gives the owner all rights on every directory. Follows no link.
fn open_up(directory: &Path) -> Result<(), PathError> {
    let all = fs::Permissions::from_mode(0o700);
    fs::set_permissions(directory, all).context("make accessible", directory)?;
    for entry in fs::read_dir(directory).context("list", directory)? {
        let entry = entry.context("list", directory)?;
        if entry.file_type().context("examine", entry.path())?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), PathError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context("remove", path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_entered_is_removed_too_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let outside = directory.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "kept").unwrap();
        let run = RunDirectory::new(directory.path().join("run"));
        fs::create_dir_all(run.outputs().join("closed/deep")).unwrap();
        std::os::unix::fs::symlink(&outside, run.outputs().join("closed/link")).unwrap();
        fs::set_permissions(run.outputs().join("closed"), fs::Permissions::from_mode(0o0)).unwrap();

        run.remove().unwrap();
        run.remove().unwrap();

        assert!(!run.path().exists());
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn what_is_kept_is_handed_out_to_every_attempt_and_goes_with_the_last() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(directory.path());
        fs::write(run.kept_secrets_json(), "s").unwrap();
        run.hand_out_kept(false).unwrap();
        assert_eq!(fs::metadata(run.secrets_json()).unwrap().permissions().mode() & 0o777, 0o600);
        run.forget_secrets().unwrap();

        run.hand_out_kept(true).unwrap();
        // Once more, as after the agent was killed.
        run.hand_out_kept(true).unwrap();

        assert_eq!(fs::read_to_string(run.secrets_json()).unwrap(), "s");
        assert!(!run.kept_secrets_json().exists() && !run.registry_json().exists());
        fs::write(run.kept_registry_json(), "p").unwrap();
        run.forget_kept().unwrap();
        run.forget_kept().unwrap();
        assert!(!run.kept_registry_json().exists());
    }

    #[test]
    fn names_are_those_the_documentation_lists() {
        let run = RunDirectory::new("/r");
        let documented = include_str!("run_directory.rs");

        for path in [
            run.run_json(),
            run.launch_json(),
            run.secrets_json(),
            run.registry_json(),
            run.kept_secrets_json(),
            run.kept_registry_json(),
            run.cancel_json(),
            run.supervisor_json(),
            run.events(),
            run.exit_json(),
            run.supervisor_log(),
            run.work(),
            run.outputs(),
            run.logs(),
            run.temporary(),
            run.io(),
            run.std_log(),
            run.std_log_index(),
            run.build_log(),
        ] {
            let name = path.strip_prefix("/r").unwrap().to_str().unwrap();
            let listed =
                documented.lines().any(|line| line.starts_with("/// ") && line.contains(name));
            assert!(listed, "{name} is not in the documentation of RunDirectory");
        }
    }
}
