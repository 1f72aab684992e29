//! What a run that failed was kept from, as far as its last words tell. Pure.
//!
//! Nothing is looked at but those words and the plan: whether something is on the machine is not for
//! a run to learn, nor from this.

use std::cmp::Reverse;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::plan::{Plan, Seen};
use super::policy::Mount;
use super::refused_calls::RefusedCalls;
use crate::container::ContainerPolicy;
use crate::run_configuration::{Network, size};

mod words;

use self::words::{Complaint, Trouble};

/// How much of the end of a log is looked at, in bytes.
pub const LAST_WORDS: u64 = 64 << 10;

/// Of more than this nobody reads.
const MOST: usize = 3;

/// Directories that are the system's: to change them is not what a mount is for.
const OF_SYSTEM: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix"];

/// Something that a run was kept from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Denial {
    /// Of which kind it is.
    pub what: Denied,
    /// The path or address, or the words of the program.
    pub subject: String,
    /// The option that allows it.
    pub option: String,
}

/// Kinds of what a run can be kept from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Denied {
    /// To see a file or directory.
    Read,
    /// To change one that it sees.
    Write,
    /// To reach an address.
    Network,
    /// To put more into `/dev/shm`.
    SharedMemory,
    /// To make a system call.
    SystemCall,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, subject, option } = self;
        match what {
            Denied::Read => write!(f, "the sandbox does not show {subject}; {option} does"),
            Denied::Write => {
                write!(f, "the sandbox does not let {subject} be changed; {option} does")
            }
            Denied::Network => write!(f, "the sandbox does not reach {subject}; {option} does"),
            Denied::SharedMemory => {
                write!(f, "{subject} of the sandbox was full; {option} makes it larger")
            }
            Denied::SystemCall => write!(f, "the sandbox refused {subject}; {option} does not"),
        }
    }
}

/// Where a sandbox was, for telling what is the run's own.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The run's directory for temporary files.
    pub temporary: &'a Path,
    /// Where the agent keeps its state, which no run is shown.
    pub state: &'a Path,
}

/// Finds what a run was kept from that ended with `words` in its log, or by `signal`: the last
/// first, each once.
#[must_use]
pub fn denials(
    words: &str,
    signal: Option<i32>,
    plan: &Plan,
    around: Surroundings<'_>,
) -> Vec<Denial> {
    let by_filter = signal == Some(nix::libc::SIGSYS) && plan.filter;
    let mut found: Vec<Denial> = by_filter
        .then(|| refused_call("a system call of another kind of machine".to_owned()))
        .into_iter()
        .collect();
    for complaint in words.lines().rev().filter_map(words::complaint) {
        if let Some(denial) = denial(&complaint, plan, around)
            && !found.contains(&denial)
        {
            found.push(denial);
        }
        if found.len() == MOST {
            break;
        }
    }
    found
}

fn refused_call(subject: String) -> Denial {
    Denial { what: Denied::SystemCall, subject, option: "--sandbox off".to_owned() }
}

fn denial(complaint: &Complaint<'_>, plan: &Plan, around: Surroundings<'_>) -> Option<Denial> {
    match complaint.trouble {
        Trouble::NoNetwork => (plan.record.network != Network::Full).then(|| Denial {
            what: Denied::Network,
            subject: complaint.host.unwrap_or("the network").to_owned(),
            option: "--network full".to_owned(),
        }),
        Trouble::NoSpace => full_memory(complaint, plan),
        Trouble::NotPermitted if complaint.paths.is_empty() => match &plan.record.refused_calls {
            Some(calls) => told(calls),
            None => plan.filter.then(|| refused_call(format!("{:?}", complaint.before))),
        },
        trouble => {
            complaint.paths.iter().rev().find_map(|path| of_path(trouble, path, plan, around))
        }
    }
}

/// Says which calls were refused, those that were tried most often first.
fn told(calls: &RefusedCalls) -> Option<Denial> {
    let mut most: Vec<_> = calls.iter().collect();
    most.sort_by_key(|(_, times)| Reverse(**times));
    let names: Vec<_> = most.into_iter().take(MOST).map(|(name, _)| name.as_str()).collect();
    let what = if names.len() == 1 { "the system call" } else { "the system calls" };
    (!names.is_empty()).then(|| refused_call(format!("{what} {}", names.join(", "))))
}

fn full_memory(complaint: &Complaint<'_>, plan: &Plan) -> Option<Denial> {
    const AT: &str = "/dev/shm";
    let views = &plan.rooms.as_ref()?.views;
    let had = views.iter().find_map(|view| match view.what {
        Seen::Memory(bytes) if view.at == Path::new(AT) => bytes,
        _ => None,
    })?;
    let is_of_it =
        complaint.is_shared_memory || complaint.paths.iter().any(|it| it.starts_with(AT));
    is_of_it.then(|| Denial {
        what: Denied::SharedMemory,
        subject: AT.to_owned(),
        option: format!("--shm-size {}", size::print_bytes(had.saturating_mul(2))),
    })
}

/// How much a run may do with a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sight {
    Nothing,
    /// As this mount.
    ToRead(Mount),
    ToChange,
}

fn of_path(trouble: Trouble, path: &Path, plan: &Plan, around: Surroundings<'_>) -> Option<Denial> {
    let (what, mount) = match (sight(path, plan, around), trouble, plan.rooms.is_some()) {
        (Sight::Nothing, Trouble::NotThere, true) | (Sight::Nothing, Trouble::NoAccess, false) => {
            (Denied::Read, around.mount_of(path, false)?)
        }
        (Sight::Nothing, Trouble::ReadOnly, _) => (Denied::Write, around.mount_of(path, true)?),
        (Sight::ToRead(mount), Trouble::ReadOnly, _)
        | (Sight::ToRead(mount), Trouble::NoAccess, false) => {
            let mount = Mount { writable: true, ..mount };
            (Denied::Write, Some(mount).filter(|it| around.may_change(&it.source))?)
        }
        _ => return None,
    };
    let option = format!("--mount {}", quoted(&mount.to_string()));
    Some(Denial { what, subject: path.display().to_string(), option })
}

fn sight(path: &Path, plan: &Plan, around: Surroundings<'_>) -> Sight {
    let shown = |source: &Path, at: &Path| {
        Sight::ToRead(Mount { source: source.into(), at: at.into(), writable: false })
    };
    let Some(rooms) = &plan.rooms else {
        let Some(fence) = &plan.fence else { return Sight::ToChange };
        let holder = |list: &[PathBuf]| list.iter().find(|it| path.starts_with(it)).cloned();
        return match (holder(&fence.write).or_else(|| holder(&fence.devices)), holder(&fence.read))
        {
            (Some(_), _) => Sight::ToChange,
            (None, Some(at)) => shown(&at, &at),
            (None, None) => Sight::Nothing,
        };
    };
    let views = rooms.views.iter().filter(|view| path.starts_with(&view.at));
    match views.max_by_key(|view| view.at.components().count()) {
        None => Sight::Nothing,
        Some(view) => match &view.what {
            Seen::Shown(source) => shown(source, &view.at),
            // An empty one is in the place of the machine's.
            Seen::Given(source) if source.starts_with(around.temporary) => Sight::Nothing,
            Seen::Empty => Sight::Nothing,
            Seen::Link(_) => shown(&view.at, &view.at),
            Seen::Given(_) | Seen::Device | Seen::Memory(_) | Seen::Processes | Seen::Devices => {
                Sight::ToChange
            }
        },
    }
}

impl Surroundings<'_> {
    /// Returns the mount of what `path` is in; of itself where that may not be one, and none where
    /// neither may.
    fn mount_of(&self, path: &Path, writable: bool) -> Option<Mount> {
        let candidates = path.parent().into_iter().chain([path]);
        let mut mounts =
            candidates.map(|path| Mount { source: path.to_owned(), at: path.to_owned(), writable });
        mounts.find(|mount| {
            mount.check().is_ok()
                && !mount.source.to_string_lossy().contains(':')
                && if writable {
                    self.may_change(&mount.source)
                } else {
                    self.may_see(&mount.source)
                }
        })
    }

    fn may_see(&self, path: &Path) -> bool {
        ContainerPolicy::default().refusal(path, Some(self.state)).is_none()
    }

    fn may_change(&self, path: &Path) -> bool {
        let is_of_system = OF_SYSTEM.iter().any(|system| path.starts_with(system));
        !is_of_system && self.may_see(path)
    }
}

/// Returns a word as shells read it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,@%+=".contains(c);
    if word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests;
