//! The programs that a build runs, one after the other.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Watch;
use super::failure::{BuildError, FailedBuild, FailureCause, last_lines};
use crate::process_group::{self, Ended, Limits};

/// How long a tool has to end when it is asked to.
const GRACE: Duration = Duration::from_secs(3);

/// How much of the end of the log is kept in memory, to tell why a build failed.
const TAIL_BYTES: usize = 32 * 1024;

/// Runs the steps of a build in its directory.
pub(super) struct Steps<'a, 'b> {
    /// Where the tools run: their messages are for people, and hold paths relative to it.
    directory: &'a Path,
    /// Of the Python that is built for.
    python_version: &'a str,
    pub(super) watch: &'a mut Watch<'b>,
    /// The variables that the tools get.
    pub(super) environment: BTreeMap<OsString, OsString>,
    tail: Vec<u8>,
}

impl<'a, 'b> Steps<'a, 'b> {
    pub(super) fn new(
        directory: &'a Path,
        python_version: &'a str,
        mut environment: BTreeMap<OsString, OsString>,
        watch: &'a mut Watch<'b>,
    ) -> Self {
        environment.insert(watch.marker.0.into(), watch.marker.1.into());
        Self { directory, python_version, watch, environment, tail: Vec::new() }
    }

    /// Runs one step, which `tool` does.
    pub(super) fn step(
        &mut self,
        tool: &str,
        what: &str,
        program: &Path,
        arguments: &[&OsStr],
    ) -> Result<(), BuildError> {
        let shown = program.strip_prefix(self.directory).unwrap_or(program);
        let mut announced = format!("+ {}", shown.display());
        for argument in arguments {
            announced = announced + " " + &argument.display().to_string();
        }
        self.say(format!("{announced}\n").as_bytes());
        let mut command = Command::new(program);
        // Where no pyproject.toml or uv.toml of somebody else is above.
        command.args(arguments).env_clear().envs(&self.environment);
        command.current_dir(self.directory);
        let limits = Limits { cancel: self.watch.cancel, deadline: None, grace: GRACE };
        let (log, tail) = (&mut self.watch.log, &mut self.tail);
        let ended = process_group::run(&mut command, &limits, &mut |_, bytes| {
            log(bytes);
            keep_tail(tail, bytes);
        })
        .map_err(|source| BuildError::Run { program: program.to_owned(), source })?;
        let status = match ended {
            Ended::Cancelled | Ended::TimedOut => return Err(BuildError::Cancelled),
            Ended::Exited(status) if status.success() => return Ok(()),
            Ended::Exited(status) => status,
        };
        let cause = FailureCause::guess(&String::from_utf8_lossy(&self.tail), self.python_version);
        let last_lines = last_lines(&self.tail);
        let what = format!("{tool} could not {what} ({status})");
        Err(BuildError::Failed(FailedBuild { what, cause, last_lines }))
    }

    pub(super) fn say(&mut self, bytes: &[u8]) {
        (self.watch.log)(bytes);
        keep_tail(&mut self.tail, bytes);
    }

    /// Asks a tool for its version: the first two words, as `pip 24.0`. Only for the record.
    pub(super) fn version(&mut self, program: &Path, arguments: &[&str]) -> Option<String> {
        let said = self.said(program, arguments)?;
        let words: Vec<&str> = said.split_whitespace().take(2).collect();
        (words.len() == 2).then(|| words.join(" "))
    }

    /// Returns what a tool says, if it succeeds. Nobody else hears it.
    pub(super) fn said(&mut self, program: &Path, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(&self.environment);
        let limits = Limits { cancel: self.watch.cancel, deadline: None, grace: GRACE };
        let mut said = Vec::new();
        let ended = process_group::run(&mut command, &limits, &mut |_, bytes| {
            said.extend_from_slice(bytes);
        });
        let Ok(Ended::Exited(status)) = ended else { return None };
        status.success().then(|| String::from_utf8_lossy(&said).into_owned())
    }
}

fn keep_tail(tail: &mut Vec<u8>, bytes: &[u8]) {
    tail.extend_from_slice(bytes);
    if tail.len() > 2 * TAIL_BYTES {
        tail.drain(..tail.len() - TAIL_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_bounded() {
        let mut tail = Vec::new();
        for _ in 0..1000 {
            keep_tail(&mut tail, &[b'x'; 1000]);
        }
        keep_tail(&mut tail, b"end");

        assert!(tail.len() <= 3 * TAIL_BYTES);
        assert!(tail.ends_with(b"end"));
    }
}
