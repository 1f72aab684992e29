//! What is looked at, without changing anything.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Finding;
use crate::terminal::measure;
use crate::workspace::Workspace;

/// Less free space than this is worth a word: an environment with a large framework needs it.
const LOW_SPACE: u64 = 5 << 30;

/// Looks at the machine, where `min_free` bytes are to stay free.
pub(super) fn machine(workspace: &Workspace, min_free: u64) -> Vec<Finding> {
    let mut findings = vec![state(workspace.home()), space(workspace.home(), min_free)];
    findings.extend(python());
    findings.push(program(
        "uv",
        "builds environments several times faster",
        "optional: it is fetched once where it can be; python -m venv and pip do without",
    ));
    findings.push(conda());
    findings.push(program("git", "for you; trainyard reads repositories itself", "optional"));
    findings.push(program(
        "bwrap",
        "makes the sandbox of runs",
        "package bubblewrap; without it runs see other processes, and have the machine's network",
    ));
    findings.push(user_namespaces());
    findings
}

fn state(home: &Path) -> Finding {
    const NAME: &str = "state directory";
    let existing = home.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("/"));
    let writable = rustix::fs::access(existing, rustix::fs::Access::WRITE_OK).is_ok();
    if !writable {
        return Finding::bad(
            NAME,
            format!("{} cannot be written", existing.display()),
            "set TRAINYARD_HOME to a directory of yours",
        );
    }
    let open_to_others = home.metadata().is_ok_and(|found| found.permissions().mode() & 0o077 != 0);
    if open_to_others {
        return Finding::missing(
            NAME,
            format!("{} can be read by others", home.display()),
            format!("chmod 700 {}", home.display()),
        );
    }
    Finding::good(NAME, home.display().to_string())
}

fn space(home: &Path, min_free: u64) -> Finding {
    const NAME: &str = "disk space";
    let existing = home.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("/"));
    match rustix::fs::statvfs(existing) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let text = format!("{} free", measure::size(free));
            if free < min_free {
                let kept = measure::size(min_free);
                let text =
                    format!("{text} where {kept} are kept free (disk.min-free): no run starts");
                Finding::bad(NAME, text, "`trainyard gc --dry-run` shows what can be freed")
            } else if free < LOW_SPACE {
                Finding::missing(NAME, text, "`trainyard gc` frees what nothing needs")
            } else {
                Finding::good(NAME, text)
            }
        }
        Err(error) => Finding::missing(NAME, error.to_string(), "look at it with df"),
    }
}

fn python() -> Vec<Finding> {
    const NAME: &str = "python";
    let variable = |name: &str| std::env::var_os(name);
    let found = images::interpreter::find(None, &variable)
        .and_then(|interpreter| images::interpreter::describe(&interpreter));
    let facts = match found {
        Ok(facts) => facts,
        Err(error) => {
            let advice = error.hint().unwrap_or("Name another with --python.");
            return vec![Finding::bad(NAME, error.to_string(), advice)];
        }
    };
    let python = format!("{} {}", facts.implementation, facts.version);
    let mut findings =
        vec![Finding::good(NAME, format!("{python} at {}", facts.executable.display()))];
    findings.push(if makes_environments(&facts.executable) {
        Finding::good("venv", "python -m venv makes environments with pip")
    } else {
        Finding::missing(
            "venv",
            "this Python cannot put pip into a virtual environment",
            "on Debian and Ubuntu: apt install python3-venv; or install uv",
        )
    });
    findings
}

/// Tells whether `python -m venv` gives environments with pip; distributions split that off.
fn makes_environments(python: &Path) -> bool {
    let asked = Command::new(python)
        .args(["-I", "-c", "import ensurepip, venv"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

fn program(name: &'static str, use_of: &str, advice: &str) -> Finding {
    match on_path(name) {
        Some(path) => Finding::good(name, format!("{} ({use_of})", path.display())),
        None => Finding::missing(name, format!("not found ({use_of})"), advice),
    }
}

/// Looks for what makes conda environments.
fn conda() -> Finding {
    const NAME: &str = "conda";
    let found = ["micromamba", "mamba", "conda"].into_iter().find_map(on_path);
    match found {
        Some(path) => Finding::good(NAME, format!("{} makes conda environments", path.display())),
        None if cfg!(feature = "conda") => {
            Finding::good(NAME, "built in; conda environments need nothing installed")
        }
        None => Finding::missing(
            NAME,
            "neither micromamba, mamba nor conda is found, and this build has none of its own",
            "install micromamba, or take same-named packages from pip with --conda-from-pip",
        ),
    }
}

pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| {
        file.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}

fn user_namespaces() -> Finding {
    const NAME: &str = "user namespaces";
    let number = |file: &str| {
        std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<u64>().ok())
    };
    let switched_off = number("/proc/sys/kernel/unprivileged_userns_clone") == Some(0)
        || number("/proc/sys/user/max_user_namespaces") == Some(0);
    let restricted = number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1);
    if switched_off || restricted {
        let by = if restricted { "AppArmor restricts them" } else { "switched off" };
        return Finding::missing(
            NAME,
            by,
            "the sandbox of runs is made of them, where the agent is not of root",
        );
    }
    Finding::good(NAME, "may be made")
}
