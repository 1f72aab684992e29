//! Questions to an interpreter, asked by starting it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::{InterpreterError, InterpreterFacts, OLDEST_PYTHON};
use crate::definition::requirements::without_credentials;
use crate::process_group::{self, Ended, Limits, Stream};

/// How long an interpreter may take to say what it is. A cold one on a network file system takes
/// seconds.
const DEADLINE: Duration = Duration::from_secs(20);

/// Starts the line with the answer; start-up files of the interpreter may print lines of their own.
pub(crate) const MARK: &str = "trainyard-probe ";

/// Where programs are looked for by an interpreter that is a script.
const PLAIN_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How much of what a program said an error repeats.
const SAID_CHARACTERS: usize = 200;

/// Runs on every Python 3, so that an old one can say how old it is.
pub(crate) const FACTS: &str = r#"
import json, os, sys
version = "%d.%d.%d" % sys.version_info[:3]
if sys.version_info[3] != "final":
    version += {"alpha": "a", "beta": "b", "candidate": "rc"}[sys.version_info[3]] + str(sys.version_info[4])
answer = {"version": version}
if sys.version_info[:2] >= (3, 8):
    import platform, sysconfig
    text = lambda path: os.fsencode(path).decode("utf-8")
    base = sys.executable
    if sys.prefix != sys.base_prefix:
        names = ["python%d.%d" % sys.version_info[:2], "python3", "python", "pypy3"]
        found = [os.path.join(sys.base_prefix, "bin", name) for name in names]
        base = next((path for path in found if os.path.exists(path)), base)
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        libc = ""
    answer.update(
        implementation=platform.python_implementation(),
        executable=text(sys.executable),
        prefix=text(sys.prefix),
        basePrefix=text(sys.base_prefix),
        baseExecutable=text(os.path.realpath(base)),
        platform=sysconfig.get_platform(),
        abi=sysconfig.get_config_var("SOABI") or sys.implementation.cache_tag or "",
        libc=libc,
    )
sys.stdout.write("\ntrainyard-probe " + json.dumps(answer) + "\n")
"#;

/// Where a script that stands for an interpreter leads.
const EXECUTABLE: &str = r#"
import os, sys
sys.stdout.write("\ntrainyard-probe " + os.fsencode(sys.executable).decode("utf-8") + "\n")
"#;

/// What `pip freeze` says, where there is no pip.
pub(crate) const PACKAGES: &str = r#"
import json
from importlib.metadata import distributions
found = {}
for one in distributions():
    name = one.metadata["Name"]
    if not name or name.lower() in ("pip", "setuptools", "wheel", "distribute"):
        continue
    line = "%s==%s" % (name, one.version)
    try:
        source = json.loads(one.read_text("direct_url.json") or "null")
    except ValueError:
        source = None
    if source and source.get("url"):
        url, vcs = source["url"], source.get("vcs_info")
        if vcs:
            url = "%s+%s@%s" % (vcs["vcs"], url, vcs["commit_id"])
        line = "%s @ %s" % (name, url)
    found.setdefault(name.lower(), line)
for name in sorted(found):
    print(found[name])
"#;

/// Returns what `interpreter` is.
pub(super) fn facts(interpreter: &Path) -> Result<InterpreterFacts, InterpreterError> {
    let mut command = clean(interpreter);
    command.args(["-I", "-c", FACTS]);
    let answer = ask(interpreter, &mut command, DEADLINE)?;
    // Python 2 has no such option, and says so.
    if answer.status == Some(2) && answer.stderr_text().contains("Unknown option: -I") {
        return Err(InterpreterError::TooOld {
            path: interpreter.to_owned(),
            version: "3.3 or older".to_owned(),
        });
    }
    let line = answer.marked().ok_or_else(|| answer.not_python(interpreter))?;
    let value: serde_json::Value =
        serde_json::from_str(line).map_err(|_| answer.not_python(interpreter))?;
    let version = value["version"].as_str().unwrap_or_default();
    if !is_new_enough(version) {
        return Err(InterpreterError::TooOld {
            path: interpreter.to_owned(),
            version: version.to_owned(),
        });
    }
    serde_json::from_value(value).map_err(|_| answer.not_python(interpreter))
}

/// Returns the interpreter that `script` starts, given `variables`.
pub(super) fn executable(
    script: &Path,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<PathBuf, InterpreterError> {
    let mut command = clean(script);
    command.envs(variables).args(["-I", "-c", EXECUTABLE]);
    let answer = ask(script, &mut command, DEADLINE)?;
    let line = answer.marked().ok_or_else(|| answer.not_python(script))?;
    Ok(PathBuf::from(line))
}

/// Returns the lines of `pip freeze`.
pub(super) fn packages(
    interpreter: &Path,
    deadline: Duration,
) -> Result<Vec<String>, InterpreterError> {
    let started = Instant::now();
    let mut command = clean(interpreter);
    // Not isolated: a run sees the packages in the user's site directory too. No PATH, so that pip
    // starts no git for packages installed from a checkout, whose configuration git would obey.
    command.env("PATH", "/nonexistent").current_dir("/");
    command.args(["-m", "pip", "--disable-pip-version-check", "freeze"]);
    let mut answer = ask(interpreter, &mut command, deadline)?;
    if answer.status != Some(0) {
        let mut command = clean(interpreter);
        command.current_dir("/").args(["-c", PACKAGES]);
        answer = ask(interpreter, &mut command, deadline.saturating_sub(started.elapsed()))?;
    }
    if answer.status != Some(0) {
        return Err(answer.not_python(interpreter));
    }
    Ok(listed(&answer.stdout))
}

/// Reads a list of packages, a line each. Passwords in their URLs are left out.
pub(crate) fn listed(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answer);
    text.lines().filter(|line| !line.trim().is_empty()).map(without_credentials).collect()
}

fn clean(interpreter: &Path) -> Command {
    let mut command = Command::new(interpreter);
    // UTF-8, whatever the locale of whoever asks.
    command.env_clear().env("PATH", PLAIN_PATH).env("LC_ALL", "C.UTF-8");
    command.env("PYTHONUTF8", "1").env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

struct Answer {
    status: Option<i32>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

fn ask(
    interpreter: &Path,
    command: &mut Command,
    deadline: Duration,
) -> Result<Answer, InterpreterError> {
    let mut answer = Answer { status: None, stdout: Vec::new(), stderr: Vec::new() };
    let never = AtomicBool::new(false);
    let limits = Limits {
        cancel: &never,
        deadline: Some(Instant::now() + deadline),
        grace: Duration::from_millis(500),
    };
    let path = interpreter.to_owned();
    let ended = process_group::run(command, &limits, &mut |stream, bytes| {
        let kept = match stream {
            Stream::Stdout => &mut answer.stdout,
            Stream::Stderr => &mut answer.stderr,
        };
        // Something that is no Python may say anything, for as long as it may.
        if kept.len() < 4 << 20 {
            kept.extend_from_slice(bytes);
        }
    });
    match ended {
        Ok(Ended::Exited(status)) => {
            answer.status = status.code();
            Ok(answer)
        }
        Ok(Ended::TimedOut | Ended::Cancelled) => {
            Err(InterpreterError::TimedOut { path, seconds: deadline.as_secs() })
        }
        Err(source) => Err(InterpreterError::Start { path, source }),
    }
}

impl Answer {
    fn marked(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.stdout).ok()?;
        text.lines().rev().find_map(|line| line.strip_prefix(MARK))
    }

    fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    fn not_python(&self, path: &Path) -> InterpreterError {
        let said = if self.stderr.is_empty() { &self.stdout } else { &self.stderr };
        let said = String::from_utf8_lossy(said);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
        let said = last.chars().filter(|c| !c.is_control()).take(SAID_CHARACTERS).collect();
        InterpreterError::NotPython { path: path.to_owned(), said }
    }
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= OLDEST_PYTHON,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_from_3_8_on_are_new_enough() {
        for (version, enough) in
            [("3.8.0", true), ("3.14.0rc1", true), ("4.0.1", true), ("3.7.17", false), ("", false)]
        {
            assert_eq!(is_new_enough(version), enough, "{version}");
        }
    }
}
