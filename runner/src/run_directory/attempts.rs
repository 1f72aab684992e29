//! What the earlier attempts at a run left, beside what the latest does.
//!
//! The latest attempt has the run directory to itself. Before the next one is prepared, all that it
//! left is moved to `attempts/N/`: piece by piece into `attempts/N.part/`, which then gets its name.
//! Each step can be made again, so that whoever is interrupted only has to begin anew.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use snapshots::path_error::{IoContext as _, PathError};

use super::RunDirectory;
use crate::durable_file::sync_directory;

/// Moved last and at once, so that whoever reads the log finds all of it in one place.
const LOGS: &str = "user_logs";

/// What is of the run, not of an attempt. Of `system_logs/` only the build log is an attempt's.
const STAYS: [&str; 6] = [
    "attempts",
    "system_logs",
    "secrets.json",
    "registry.json",
    "secrets.kept.json",
    "registry.kept.json",
];

impl RunDirectory {
    /// Returns where what attempt `number`, from 1, left is kept once a later one has the run
    /// directory.
    #[must_use]
    pub fn attempt(&self, number: u32) -> Self {
        Self::new(self.path.join("attempts").join(number.to_string()))
    }

    /// Says whether attempt `number` has given the run directory up.
    #[must_use]
    pub fn is_set_aside(&self, number: u32) -> bool {
        self.attempt(number).path.is_dir()
    }

    /// Returns which attempt has the run directory, where `on` is the one that is on or comes next:
    /// until that is prepared, one before it.
    #[must_use]
    pub fn latest_attempt(&self, on: u32) -> u32 {
        (1..on).find(|number| !self.is_set_aside(*number)).unwrap_or(on)
    }

    /// Calls `read` with the directory that attempt `number` has; again if it was moved meanwhile.
    ///
    /// # Errors
    ///
    /// That of `read`.
    pub fn read_attempt<T, E>(
        &self,
        number: u32,
        mut read: impl FnMut(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut place = self.place_of(number);
        loop {
            let answer = read(&place);
            let now = self.place_of(number);
            if now == place {
                return answer;
            }
            place = now;
        }
    }

    /// Returns the directory that attempt `number` has now; one that is not there where it has
    /// none yet.
    fn place_of(&self, number: u32) -> Self {
        let (kept, part) = (self.attempt(number), self.part(number));
        if kept.path.is_dir() {
            kept
        } else if part.path.join(LOGS).is_dir() {
            part
        } else if number == 1 || self.is_set_aside(number - 1) {
            self.clone()
        } else {
            kept
        }
    }

    fn part(&self, number: u32) -> Self {
        Self::new(self.path.join("attempts").join(format!("{number}.part")))
    }

    /// Moves all that attempt `number`, which is over, left to where it is kept. What was moved
    /// before stays there.
    ///
    /// # Errors
    ///
    /// Something cannot be moved. Call it again.
    pub fn set_aside(&self, number: u32) -> Result<(), PathError> {
        if self.is_set_aside(number) {
            return Ok(());
        }
        let part = self.part(number);
        let logs = part.path.join("system_logs");
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&logs);
        made.context("create", &logs)?;
        rename(&self.build_log(), &part.build_log())?;
        for entry in fs::read_dir(&self.path).context("list", &self.path)? {
            let name = entry.context("list", &self.path)?.file_name();
            let is = |known: &str| OsStr::new(known) == name;
            if !STAYS.iter().any(|known| is(known)) && !is(LOGS) && !is("exit.json") {
                rename(&self.path.join(&name), &part.path.join(&name))?;
            }
        }
        // A log without it may have an end that nobody is shown.
        match fs::hard_link(self.exit_json(), part.exit_json()) {
            Err(error)
                if ![io::ErrorKind::AlreadyExists, io::ErrorKind::NotFound]
                    .contains(&error.kind()) =>
            {
                return Err(error).context("link to", part.exit_json());
            }
            _ => {}
        }
        rename(&self.path.join(LOGS), &part.path.join(LOGS))?;
        super::remove(&self.exit_json())?;
        sync_directory(&part.path)?;
        sync_directory(&self.path)?;
        let kept = self.attempt(number);
        fs::rename(&part.path, &kept.path).context("rename into", &kept.path)?;
        sync_directory(&self.path.join("attempts"))
    }
}

/// Moves one thing; that it is not there any more is as good.
fn rename(from: &Path, to: &Path) -> Result<(), PathError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A script may have made its directory read-only.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let all = fs::Permissions::from_mode(0o700);
            fs::set_permissions(from, all).context("make accessible", from)?;
            fs::rename(from, to).context("rename into", to)
        }
        renamed => renamed.context("rename into", to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run directory with what an attempt leaves, each file saying `text`.
    fn left(run: &RunDirectory, text: &str) {
        run.create().unwrap();
        fs::create_dir_all(run.outputs()).unwrap();
        fs::create_dir(run.temporary()).unwrap();
        for path in [
            run.std_log(),
            run.std_log_index(),
            run.build_log(),
            run.outputs().join("model"),
            run.launch_json(),
            run.exit_json(),
            run.events(),
        ] {
            fs::write(path, text).unwrap();
        }
    }

    fn log_of(run: &RunDirectory, attempt: u32) -> Option<String> {
        run.read_attempt(attempt, |place| fs::read_to_string(place.std_log())).ok()
    }

    fn run() -> (tempfile::TempDir, RunDirectory) {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(directory.path().join("exp_1_00000001"));
        left(&run, "first");
        fs::write(run.path().join("system_logs/git.patch"), "patch").unwrap();
        fs::write(run.kept_secrets_json(), "kept").unwrap();
        (directory, run)
    }

    #[test]
    fn each_attempt_has_its_own_and_the_run_keeps_what_is_of_all() {
        let (_directory, run) = run();
        fs::set_permissions(run.work(), fs::Permissions::from_mode(0o500)).unwrap();
        assert_eq!((log_of(&run, 1).as_deref(), log_of(&run, 2)), (Some("first"), None));

        run.set_aside(1).unwrap();
        assert_eq!(log_of(&run, 2), None, "the next is not prepared");
        left(&run, "second");
        run.set_aside(1).unwrap();

        assert_eq!(log_of(&run, 1).as_deref(), Some("first"));
        assert_eq!(log_of(&run, 2).as_deref(), Some("second"));
        let kept = run.attempt(1);
        for path in [kept.build_log(), kept.launch_json(), kept.exit_json(), kept.events()] {
            assert_eq!(fs::read_to_string(path).unwrap(), "first");
        }
        assert_eq!(fs::read_to_string(kept.outputs().join("model")).unwrap(), "first");
        assert!(run.path().join("system_logs/git.patch").exists());
        assert!(run.kept_secrets_json().exists());
        assert_eq!((run.latest_attempt(2), run.latest_attempt(3)), (2, 2));
        run.set_aside(2).unwrap();
        assert_eq!(log_of(&run, 2).as_deref(), Some("second"));
        // One that never had anything.
        run.set_aside(3).unwrap();
        assert_eq!((log_of(&run, 3), run.latest_attempt(4)), (None, 4));
    }

    #[test]
    fn a_move_that_was_broken_off_anywhere_is_gone_on_with() {
        let names = |run: &RunDirectory| {
            let all = fs::read_dir(run.path()).unwrap();
            let mut names: Vec<_> = all.map(|it| it.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let whole = {
            let (_directory, run) = run();
            run.set_aside(1).unwrap();
            (names(&run), names(&run.attempt(1)))
        };
        let moved = ["launch.json", "work", "tmp", "events", LOGS];
        for count in 0..=moved.len() {
            let (_directory, run) = run();
            let part = run.part(1);
            fs::create_dir_all(part.path().join("system_logs")).unwrap();
            for name in &moved[..count] {
                if *name == LOGS {
                    fs::hard_link(run.exit_json(), part.exit_json()).unwrap();
                }
                fs::rename(run.path().join(name), part.path().join(name)).unwrap();
            }
            assert_eq!(log_of(&run, 1).as_deref(), Some("first"), "{count} moved");

            run.set_aside(1).unwrap();

            assert_eq!((names(&run), names(&run.attempt(1))), whole, "{count} moved");
            assert_eq!(log_of(&run, 1).as_deref(), Some("first"));
        }
    }
}
