//! Starts the script: a session of its own, nothing inherited, both streams into pipes.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::{getpid, getppid, setsid};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use crate::sandbox::cgroup::Join;

/// The size that pipes are enlarged to: what an unprivileged process may ask for.
pub(crate) const PIPE_BYTES: usize = 1 << 20;

/// What is to be started.
#[derive(Clone, Debug)]
pub(crate) struct Script<'a> {
    pub(crate) program: &'a [String],
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) working_directory: PathBuf,
}

/// A script that runs, with our ends of its pipes; they do not block.
#[derive(Debug)]
pub(crate) struct RunningScript {
    pub(crate) pid: i32,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Why a script could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("no program was given")]
    Nothing,
    #[error("the working directory {path:?} does not exist")]
    NoDirectory { path: PathBuf },
    #[error("the program {program:?} was not found")]
    NotFound { program: String },
    #[error("the program {program:?} names an interpreter in its first line that was not found")]
    NoInterpreter { program: String },
    #[error(
        "the program {program:?}, or the interpreter that its first line names, is not seen in \
         the sandbox; --mount shows it the directory that holds it"
    )]
    NotShown { program: String },
    #[error("the program {program:?} may not be executed")]
    NotExecutable { program: String },
    #[error("the program {program:?} could not be started")]
    Other { program: String, source: io::Error },
    #[error("no pipe could be made for the script")]
    Pipe { source: io::Error },
}

impl Script<'_> {
    /// Sets a variable unless the run has it.
    pub(crate) fn default_variable(&mut self, name: &str, value: &str) {
        self.environment.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }

    /// Starts the script. It dies with this process.
    ///
    /// It enters the cgroups of `join` before anything of it runs.
    pub(crate) fn start(&self, join: Option<Arc<Join>>) -> Result<RunningScript, StartError> {
        let (program, arguments) = self.program.split_first().ok_or(StartError::Nothing)?;
        if !self.working_directory.is_dir() {
            return Err(StartError::NoDirectory { path: self.working_directory.clone() });
        }
        let (stdout, theirs_out) = pipe().map_err(|source| StartError::Pipe { source })?;
        let (stderr, theirs_err) = pipe().map_err(|source| StartError::Pipe { source })?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(&self.environment)
            .current_dir(&self.working_directory)
            .stdin(Stdio::null())
            .stdout(theirs_out)
            .stderr(theirs_err);
        // SAFETY: the closure makes a few system calls and touches no memory that another thread
        // could hold a lock on: it neither allocates nor panics.
        unsafe { command.pre_exec(detach(join)) };
        let started = command.spawn();
        match started {
            Ok(child) => Ok(RunningScript { pid: child.id().cast_signed(), stdout, stderr }),
            Err(error) => Err(explain(program, &self.working_directory, error, false)),
        }
    }
}

/// Returns what a child does before it becomes another program: enters the cgroups of `join`,
/// leads a session of its own, and dies with this process. Makes system calls only.
pub(crate) fn detach(join: Option<Arc<Join>>) -> impl FnMut() -> io::Result<()> + Send + Sync {
    let parent = getpid();
    move || {
        if let Some(join) = &join {
            join.enter();
        }
        setsid()?;
        // The signals that this process reads from its loop are blocked only here.
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have gone before the line above took effect.
        if getppid() == parent { Ok(()) } else { Err(io::ErrorKind::NotConnected.into()) }
    }
}

/// Says why `program` did not start, as far as one look can tell; `is_apart` when it was in rooms
/// of its own, where there is less to be found.
pub(crate) fn explain(
    program: &str,
    directory: &Path,
    source: io::Error,
    is_apart: bool,
) -> StartError {
    let program = program.to_owned();
    let is_here = || program.contains('/') && directory.join(&program).exists();
    match source.kind() {
        io::ErrorKind::NotFound if is_apart && is_here() => StartError::NotShown { program },
        io::ErrorKind::NotFound if is_here() => StartError::NoInterpreter { program },
        io::ErrorKind::NotFound => StartError::NotFound { program },
        io::ErrorKind::PermissionDenied => StartError::NotExecutable { program },
        _ => StartError::Other { program, source },
    }
}

/// Makes a large pipe: our end, which does not block, and the script's.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(ours.as_fd(), OFlags::NONBLOCK)?;
    // A user over the limit for pipes gets a small one: slower, not wrong.
    let _enlarged = fcntl_setpipe_size(ours.as_fd(), PIPE_BYTES);
    Ok((ours, theirs))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn refusal(program: &[&str], directory: &Path) -> String {
        let program: Vec<String> = program.iter().map(|&word| word.to_owned()).collect();
        let script = Script {
            program: &program,
            environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            working_directory: directory.to_owned(),
        };
        script.start(None).unwrap_err().to_string()
    }

    #[test]
    fn a_program_that_cannot_start_says_why() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        for (name, text, mode) in [("plain", "x", 0o644), ("lost", "#!/nonexistent\n", 0o755)] {
            fs::write(here.join(name), text).unwrap();
            fs::set_permissions(here.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }

        assert_eq!(refusal(&[], here), "no program was given");
        assert_eq!(refusal(&["nonsense"], here), r#"the program "nonsense" was not found"#);
        assert_eq!(refusal(&["./no"], here), r#"the program "./no" was not found"#);
        assert_eq!(refusal(&["./plain"], here), r#"the program "./plain" may not be executed"#);
        assert_eq!(
            refusal(&["./lost"], here),
            r#"the program "./lost" names an interpreter in its first line that was not found"#
        );
        assert_eq!(
            refusal(&["true"], &here.join("gone")),
            format!("the working directory {:?} does not exist", here.join("gone"))
        );
    }
}
