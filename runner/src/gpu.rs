//! The GPUs of this machine.

use std::io::{self, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Stands for as many as there are, none included.
pub const ALL: u32 = u32::MAX;

/// What asks the driver.
const PROGRAM: &str = "nvidia-smi";
const UUIDS: &str = "--query-gpu=uuid";
const USERS: &str = "--query-compute-apps=gpu_uuid,pid,used_memory";
/// How long it may take: a driver that has to wake its GPUs takes seconds.
const DEADLINE: Duration = Duration::from_secs(20);

/// Why there are no GPUs to give.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// There are fewer than were asked for.
    #[error("the run asks for {wanted} GPU{} and this machine has {found}", if *wanted == 1 { "" } else { "s" })]
    TooFew {
        /// How many were asked for.
        wanted: u32,
        /// How many there are.
        found: u32,
    },
    /// There is no driver.
    #[error("the run asks for {wanted} GPU{} and this machine has no NVIDIA driver", if *wanted == 1 { "" } else { "s" })]
    NoDriver {
        /// How many were asked for.
        wanted: u32,
    },
    /// The driver does not say.
    #[error("the GPUs of this machine cannot be listed: {PROGRAM} {said}")]
    Silent {
        /// What it did instead.
        said: String,
    },
}

impl GpuError {
    /// Returns what to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::TooFew { found: 0, .. } | Self::NoDriver { .. } => {
                format!("run it without --gpus, or install the driver that has {PROGRAM}")
            }
            Self::TooFew { found, .. } => format!("ask for at most {found}"),
            Self::Silent { .. } => format!("run {PROGRAM} to see what is wrong"),
        })
    }
}

/// A process that has memory on a GPU.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GpuUser {
    /// The UUID of the GPU.
    pub gpu: String,
    /// The process, as the driver counts them.
    pub pid: u32,
}

/// Returns the UUIDs of the first `count` GPUs of this machine; of [`ALL`], those there are.
///
/// # Errors
///
/// There are not as many, or they cannot be listed.
pub fn choose(count: u32) -> Result<Vec<String>, GpuError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    match program() {
        Some(program) => first(count, uuids(&ask(program, UUIDS, DEADLINE)?)),
        None if count == ALL => Ok(Vec::new()),
        None => Err(GpuError::NoDriver { wanted: count }),
    }
}

/// Returns the processes that have memory on the GPUs of this machine, whosever they are.
///
/// # Errors
///
/// They cannot be listed.
pub fn users() -> Result<Vec<GpuUser>, GpuError> {
    match program() {
        Some(program) => Ok(users_in(&ask(program, USERS, DEADLINE)?)),
        None => Ok(Vec::new()),
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join(PROGRAM)).find(|p| p.is_file())
}

fn first(count: u32, mut all: Vec<String>) -> Result<Vec<String>, GpuError> {
    if count == ALL {
        return Ok(all);
    }
    let found = u32::try_from(all.len()).unwrap_or(u32::MAX);
    if found < count {
        return Err(GpuError::TooFew { wanted: count, found });
    }
    all.truncate(count as usize);
    Ok(all)
}

/// Asks `program` something; returns what it says.
fn ask(program: PathBuf, query: &str, deadline: Duration) -> Result<String, GpuError> {
    let silent = |error: io::Error| GpuError::Silent { said: format!("failed: {error}") };
    let mut child = Command::new(program)
        .args([query, "--format=csv,noheader"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(silent)?;
    let ended = ended(&mut child, deadline).map_err(silent)?;
    let mut text = String::new();
    // A list of GPUs or of those who use them fits into a pipe, so that all of it is there when the
    // program is over.
    if let (Some(_), Some(out)) = (ended, child.stdout.take()) {
        out.take(64 * 1024).read_to_string(&mut text).map_err(silent)?;
    }
    match ended {
        Some(true) => Ok(text),
        Some(false) => {
            let said = text.lines().next().unwrap_or("failed").to_owned();
            Err(GpuError::Silent { said: format!("says: {said}") })
        }
        None => Err(GpuError::Silent { said: format!("took longer than {deadline:?}") }),
    }
}

/// Waits for the end; says whether it was a good one, `None` when it had to be killed.
fn ended(child: &mut Child, deadline: Duration) -> io::Result<Option<bool>> {
    let begun = Instant::now();
    while begun.elapsed() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn uuids(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| line.starts_with("GPU-")).map(str::to_owned).collect()
}

/// Reads lines such as `GPU-1, 4711, 1024 MiB`. Memory that the driver does not tell is some.
fn users_in(text: &str) -> Vec<GpuUser> {
    let user = |line: &str| {
        let mut words = line.split(',').map(str::trim);
        let (gpu, pid, memory) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
        let has_memory = memory.split(' ').next() != Some("0");
        has_memory.then(|| GpuUser { gpu: gpu.to_owned(), pid })
    };
    text.lines().filter_map(user).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn listed(script: &str) -> Result<Vec<String>, GpuError> {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join(PROGRAM);
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        ask(program, UUIDS, Duration::from_millis(300)).map(|text| uuids(&text))
    }

    #[test]
    fn who_has_memory_on_a_gpu_uses_it() {
        let said = "GPU-1, 4711, 1024 MiB\nGPU-1, 4712, [N/A]\nGPU-2, 4713, 0 MiB\nNo devices\n";

        let users = users_in(said);

        let user = |pid| GpuUser { gpu: "GPU-1".to_owned(), pid };
        assert_eq!(users, [user(4711), user(4712)]);
        assert_eq!(users_in(""), []);
    }

    #[test]
    fn the_driver_lists_its_gpus() {
        let two = listed("echo GPU-1; echo ' GPU-2 '; echo 'No more'").unwrap();

        assert_eq!(two, ["GPU-1", "GPU-2"]);
        assert_eq!(first(1, two.clone()).unwrap(), ["GPU-1"]);
        assert_eq!(first(ALL, two.clone()).unwrap(), two);
        assert_eq!(first(ALL, vec![]).unwrap(), Vec::<String>::new());
        let error = first(3, two).unwrap_err();
        assert_eq!(error.to_string(), "the run asks for 3 GPUs and this machine has 2");
        assert_eq!(error.hint().unwrap(), "ask for at most 2");
        assert!(first(1, vec![]).unwrap_err().hint().unwrap().starts_with("run it without --gpus"));
    }

    #[test]
    fn a_driver_that_does_not_answer_is_named() {
        let said = |script| listed(script).unwrap_err().to_string();

        let cannot = "the GPUs of this machine cannot be listed: nvidia-smi";
        assert_eq!(
            said("echo 'NVIDIA-SMI has failed'; exit 9"),
            format!("{cannot} says: NVIDIA-SMI has failed")
        );
        assert_eq!(said("exec sleep 10"), format!("{cannot} took longer than 300ms"));
    }

    #[test]
    fn who_asks_for_none_gets_none_without_a_look() {
        assert_eq!(choose(0).unwrap(), Vec::<String>::new());
    }
}
