//! uv: found on this machine, else fetched once as a wheel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use super::venv::find_tool;
use super::{BuildError, Watch, Workshop, variables};
use crate::process_group::{self, Ended, Limits};

/// What is fetched, as a requirement.
const WANTED: &str = "uv==0.13.9";

/// How long fetching may take: some 40 MB. pip does without in less time than this.
const PATIENCE: Duration = Duration::from_secs(60);

/// For how long it is not tried again after it did not work.
const PAUSE: Duration = Duration::from_secs(3600);

/// The file that notes when it did not work.
const FAILED: &str = "uv.failed";

/// Returns the uv of this machine or of the cache's tools; fetches it with the pip of `python` if
/// there is none. `None` where it cannot be had: pip is used then, and the log says so.
pub(super) fn find_or_fetch(
    workshop: &Workshop<'_>,
    python: Option<&Path>,
    watch: &mut Watch<'_>,
) -> Result<Option<PathBuf>, BuildError> {
    if let Some(found) = find_tool("uv", workshop.host, workshop.tools) {
        return Ok(Some(found));
    }
    let failed = workshop.tools.join(FAILED);
    if is_recent(&failed) {
        return Ok(None);
    }
    if let Some(python) = python
        && fetch(workshop, python, watch)?
        && let Some(found) = find_tool("uv", workshop.host, workshop.tools)
    {
        return Ok(Some(found));
    }
    (watch.log)(b"uv is not there and could not be fetched: pip is used.\n");
    if let Err(error) = fs::write(&failed, b"") {
        tracing::debug!(%error, "Could not note that uv cannot be fetched.");
    }
    Ok(None)
}

fn is_recent(path: &Path) -> bool {
    let changed = fs::metadata(path).and_then(|data| data.modified());
    changed.is_ok_and(|time| SystemTime::now().duration_since(time).is_ok_and(|age| age < PAUSE))
}

/// Installs the wheel beside and moves the program to its place: whoever looks sees all of it or
/// nothing. Whether that worked.
fn fetch(
    workshop: &Workshop<'_>,
    python: &Path,
    watch: &mut Watch<'_>,
) -> Result<bool, BuildError> {
    let ready = fs::create_dir_all(workshop.tools)
        .and_then(|()| tempfile::Builder::new().prefix(".uv-").tempdir_in(workshop.tools));
    let Ok(directory) = ready else { return Ok(false) };
    let target = directory.path().join("wheel");
    (watch.log)(format!("Fetching {WANTED} for this and later builds.\n").as_bytes());
    let mut pip = python.to_owned();
    if !run(workshop, watch, python, &["-I", "-m", "pip", "--version"])? {
        // Its venv module may have a pip all the same.
        let venv = directory.path().join("venv");
        if !run(workshop, watch, python, &["-I", "-m", "venv", &venv.to_string_lossy()])? {
            return Ok(false);
        }
        pip = venv.join("bin/python");
    }
    let target_text = target.to_string_lossy();
    let arguments = [
        "-I",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--no-deps",
        "--no-compile",
        "--only-binary=:all:",
        "--disable-pip-version-check",
        "--retries=1",
        "--timeout=10",
        "--target",
        &target_text,
        WANTED,
    ];
    Ok(run(workshop, watch, &pip, &arguments)?
        && fs::rename(target.join("bin/uv"), workshop.tools.join("uv")).is_ok())
}

/// Whether the program ended well, within the time there is. Its words are nobody's business.
fn run(
    workshop: &Workshop<'_>,
    watch: &Watch<'_>,
    program: &Path,
    arguments: &[&str],
) -> Result<bool, BuildError> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(variables::of_host(workshop.host));
    command.env(watch.marker.0, watch.marker.1).current_dir(workshop.directory);
    let limits = Limits {
        cancel: watch.cancel,
        deadline: Some(Instant::now() + PATIENCE),
        grace: Duration::from_secs(1),
    };
    match process_group::run(&mut command, &limits, &mut |_, _| {}) {
        Ok(Ended::Cancelled) => Err(BuildError::Cancelled),
        Ok(Ended::Exited(status)) => Ok(status.success()),
        Ok(Ended::TimedOut) | Err(_) => Ok(false),
    }
}
