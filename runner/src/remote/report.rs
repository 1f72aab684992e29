//! What a machine is, and whether it will do: `target check`.

use std::fs;
use std::io::Read as _;
use std::num::NonZero;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use images::engine::{Engine, EngineError, EngineOrigin, EnginePlace};
use images::host::HostVariables;
use serde::{Deserialize, Serialize};
use snapshots::digest::Hasher;
use snapshots::error_chain::chain;
use snapshots::path_error::{IoContext as _, PathError};

use super::files::RemoteHome;
use crate::durable_file;
use crate::sandbox::host::HostFacts;
use crate::sandbox::plan::possible;
use crate::sandbox::probe;
use crate::script_user::ScriptUser;

/// How long any one program may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// How much of an answer is read, in bytes.
const MOST: u64 = 64 << 10;

/// What a machine says of itself. Everything that is not known is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineReport {
    /// `ID` of `/etc/os-release`.
    pub os: Option<String>,
    /// `VERSION_ID`.
    pub os_version: Option<String>,
    /// `PRETTY_NAME`.
    pub os_name: Option<String>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// As `x86_64`.
    pub architecture: String,
    /// The version of the C library.
    pub glibc: Option<String>,
    /// How many processors this user may use.
    pub cpus: u32,
    /// In bytes.
    pub memory_bytes: Option<u64>,
    /// Of that, what is free to use, in bytes.
    pub memory_available_bytes: Option<u64>,
    /// What is free on the file system of the state directory, in bytes.
    pub disk_free_bytes: Option<u64>,
    /// Its size, in bytes.
    pub disk_bytes: Option<u64>,
    /// Names of the GPUs.
    pub gpus: Vec<String>,
    /// Version of the `python3` that is found first.
    pub python: Option<String>,
    /// Whether that one can make virtual environments.
    pub python_venv: bool,
    /// Which of `micromamba`, `mamba` and `conda` is found first.
    pub conda: Option<String>,
    /// Where `uv` is.
    pub uv: Option<String>,
    /// Version of the container engine.
    pub docker: Option<String>,
    /// Why it cannot be used, in words; nothing where there is none.
    pub docker_problem: Option<String>,
    /// What to do about that.
    pub docker_hint: Option<String>,
    /// `full`, `reduced` or `none`: how much of a sandbox the machine makes.
    pub sandbox: String,
    /// Whether processes of a user who logs out are ended by the system.
    pub kills_on_logout: bool,
    /// What the machine's clock says.
    pub time_utc: Option<jiff::Timestamp>,
    /// The user who answers.
    pub user: String,
}

/// Asks the machine. What it does not say in time is not known; nothing of it fails as a whole.
pub(super) fn report(home: &RemoteHome) -> MachineReport {
    // Side by side: a driver that has to wake its GPUs takes seconds.
    thread::scope(|scope| {
        let gpus = scope.spawn(gpus);
        let python = scope.spawn(python);
        let docker = scope.spawn(docker);
        let kills_on_logout = scope.spawn(kills_on_logout);
        let release = OsRelease::read(Path::new("/etc/os-release"));
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let disk = disk(home);
        let (python, python_venv) = python.join().unwrap_or_default();
        let (docker, trouble) = match docker.join() {
            Ok(Ok(version)) => (version, None),
            Ok(Err(trouble)) => (None, Some(trouble)),
            Err(_) => (None, None),
        };
        let (docker_problem, docker_hint) = trouble.unzip();
        MachineReport {
            os: release.get("ID"),
            os_version: release.get("VERSION_ID"),
            os_name: release.get("PRETTY_NAME"),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .ok()
                .map(|release| release.trim().to_owned()),
            architecture: std::env::consts::ARCH.to_owned(),
            glibc: ask("getconf", &["GNU_LIBC_VERSION"])
                .and_then(|said| said.strip_prefix("glibc ").map(str::to_owned)),
            cpus: u32::try_from(thread::available_parallelism().map_or(1, NonZero::get))
                .unwrap_or(u32::MAX),
            memory_bytes: kibibytes(&memory, "MemTotal"),
            memory_available_bytes: kibibytes(&memory, "MemAvailable"),
            disk_free_bytes: disk.map(|disk| disk.0),
            disk_bytes: disk.map(|disk| disk.1),
            gpus: gpus.join().unwrap_or_default(),
            python,
            python_venv,
            conda: ["micromamba", "mamba", "conda"].into_iter().find_map(on_path),
            uv: on_path("uv"),
            docker,
            docker_problem,
            docker_hint: docker_hint.flatten(),
            sandbox: possible(&probe::tried(HostFacts::look())).0.to_string(),
            kills_on_logout: kills_on_logout.join().unwrap_or_default(),
            time_utc: Some(jiff::Timestamp::now()),
            user: ScriptUser::current().name,
        }
    })
}

/// What `/etc/os-release` says: os-release(5).
struct OsRelease(String);

impl OsRelease {
    fn read(path: &Path) -> Self {
        Self(fs::read_to_string(path).unwrap_or_default())
    }

    fn get(&self, name: &str) -> Option<String> {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        let value = self.0.lines().find_map(|line| value(line.trim()))?;
        let value = value.trim_matches(['"', '\'']).replace("\\\"", "\"");
        Some(value).filter(|value| !value.is_empty())
    }
}

/// Reads one line of `/proc/meminfo`, in bytes.
fn kibibytes(memory: &str, name: &str) -> Option<u64> {
    let line = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

/// Returns what is free and what there is where the state directory is, or will be, in bytes.
fn disk(home: &RemoteHome) -> Option<(u64, u64)> {
    let there = home.path().ancestors().find(|path| path.exists())?;
    let disk = rustix::fs::statvfs(there).ok()?;
    Some((disk.f_bavail.checked_mul(disk.f_frsize)?, disk.f_blocks.checked_mul(disk.f_frsize)?))
}

fn gpus() -> Vec<String> {
    let said = ask("nvidia-smi", &["--query-gpu=name", "--format=csv,noheader"]);
    let said = said.unwrap_or_default();
    said.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Returns the version, and whether virtual environments can be made: Debian's and Ubuntu's Python
/// needs a package for that.
fn python() -> (Option<String>, bool) {
    let version = "import platform; print(platform.python_version())";
    let venv = "import venv, ensurepip";
    (ask("python3", &["-c", version]), ask("python3", &["-c", venv]).is_some())
}

/// Returns the engine's version, `None` where nothing says that there is one, or why it cannot be
/// used and what to do.
fn docker() -> Result<Option<String>, (String, Option<String>)> {
    let host = EnginePlace::pinned(&HostVariables::new(std::env::vars_os()));
    let (tell, told) = mpsc::channel();
    // An engine that does not answer keeps its thread; the process is gone soon.
    thread::spawn(move || {
        let usual = EnginePlace::find(&host).is_ok_and(|it| *it.origin() == EngineOrigin::Usual);
        let found = match Engine::connect(&host) {
            Ok(engine) => Ok(Some(engine.facts().version.clone())),
            Err(EngineError::NotFound { .. }) if usual => Ok(None),
            Err(error) => Err((chain(&error), error.hint())),
        };
        let _nobody_waits = tell.send(found);
    });
    let silent = || Err((format!("it did not answer within {} seconds", LIMIT.as_secs()), None));
    told.recv_timeout(LIMIT).unwrap_or_else(|_| silent())
}

/// Asks systemd-logind, which may end all processes of a user who logs out; those that linger are
/// spared.
fn kills_on_logout() -> bool {
    let user = ScriptUser::current().name;
    if Path::new("/var/lib/systemd/linger").join(user).exists() {
        return false;
    }
    let login = "org.freedesktop.login1";
    let property = ["get-property", login, "/org/freedesktop/login1"];
    let manager = format!("{login}.Manager");
    let said = ask("busctl", &[&property[..], &[&manager, "KillUserProcesses"]].concat());
    said.as_deref() == Some("b true")
}

/// Returns where a program is that is found first.
fn on_path(name: &str) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let is_program = |path: &PathBuf| {
        rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file()
    };
    let found = std::env::split_paths(&path).map(|at| at.join(name)).find(is_program)?;
    Some(found.to_string_lossy().into_owned())
}

/// Returns what a program says, if it ends well and in time.
fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    ask_within(program, arguments, LIMIT)
}

fn ask_within(program: &str, arguments: &[&str], limit: Duration) -> Option<String> {
    let begun = Instant::now();
    let mut command = Command::new(on_path(program)?);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.process_group(0).spawn().ok()?;
    let out = child.stdout.take()?;
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut said = String::new();
        let read = out.take(MOST).read_to_string(&mut said);
        let _nobody_waits = tell.send(read.ok().map(|_| said));
    });
    let said = told.recv_timeout(limit).ok().flatten();
    let mut ended = child.try_wait().ok()?;
    while said.is_some() && ended.is_none() && begun.elapsed() < limit {
        thread::sleep(Duration::from_millis(2));
        ended = child.try_wait().ok()?;
    }
    if ended.is_none() {
        // With all that it started, or its output stays open.
        let group = nix::unistd::Pid::from_raw(child.id().cast_signed());
        let _gone = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        ended = child.wait().ok();
    }
    said.filter(|_| ended.is_some_and(|ended| ended.success())).map(|said| said.trim().to_owned())
}

/// Tells this machine and user from all others: a digest of the machine's id and the user's number,
/// in hexadecimal. A machine without an id gets one, which is kept in `home`.
pub(super) fn machine(home: &RemoteHome) -> Result<String, PathError> {
    let known = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let id = known.iter().find_map(|path| read(path).filter(|id| id.trim().len() == 32));
    let id = match id {
        Some(id) => id,
        None => own_id(home)?,
    };
    let mut hasher = Hasher::new();
    hasher.update(id.trim().as_bytes());
    hasher.update(format!("\n{}\n", nix::unistd::getuid()).as_bytes());
    Ok(hasher.finish().to_string())
}

fn own_id(home: &RemoteHome) -> Result<String, PathError> {
    home.create()?;
    let path = home.machine_id();
    let new = format!("{:032x}\n", rand::random::<u128>());
    durable_file::create_new(&path, new.as_bytes())?;
    std::fs::read_to_string(&path).context("read", &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_answer_is_not_waited_for() {
        let begun = Instant::now();
        let limit = Duration::from_millis(200);
        assert_eq!(ask_within("sh", &["-c", "sleep 1000 & sleep 1000"], limit), None);
        assert!(begun.elapsed() < Duration::from_secs(100));

        assert_eq!(ask("sh", &["-c", "echo ' fine '"]).as_deref(), Some("fine"));
        assert_eq!(ask("sh", &["-c", "echo fine; exit 1"]), None);
        assert_eq!(ask("a-program-that-is-not-there", &[]), None);
    }

    #[test]
    fn os_release_is_read_with_and_without_quotes() {
        let text =
            "NAME=\"Ubuntu\"\nID=ubuntu\nVERSION_ID='22.04'\nPRETTY_NAME=\"Ubuntu 22.04.5 LTS\"\n";
        let release = OsRelease(text.to_owned());

        assert_eq!(release.get("ID").as_deref(), Some("ubuntu"));
        assert_eq!(release.get("VERSION_ID").as_deref(), Some("22.04"));
        assert_eq!(release.get("PRETTY_NAME").as_deref(), Some("Ubuntu 22.04.5 LTS"));
        assert_eq!(release.get("VERSION"), None);
        assert_eq!(OsRelease::read(Path::new("/nonexistent")).get("ID"), None);
    }

    #[test]
    fn memory_is_told_in_bytes() {
        let text = "MemTotal:       16384256 kB\nMemAvailable:   12 kB\n";
        assert_eq!(kibibytes(text, "MemTotal"), Some(16_384_256 * 1024));
        assert_eq!(kibibytes(text, "MemAvailable"), Some(12 * 1024));
        assert_eq!(kibibytes(text, "MemFree"), None);
    }

    #[test]
    fn a_machine_is_told_from_others_and_stays_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let home = RemoteHome::at(directory.path().join("home"));

        let first = machine(&home).unwrap();

        assert_eq!(first.len(), 64);
        assert_eq!(machine(&home).unwrap(), first);
        assert_eq!(own_id(&home).unwrap(), own_id(&home).unwrap());
    }
}
