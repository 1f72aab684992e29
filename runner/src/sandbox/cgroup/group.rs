//! One cgroup: made, limited, ended and removed, by plain files.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use snapshots::path_error::{IoContext as _, PathError};

use super::hierarchy::{Controller, Version};
use crate::process_identity::ProcessStat;
use crate::supervisor::process_tree::{Sent, TreeEnd, send};

/// How long the kernel may take to end what was killed before it is said.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a cgroup whose last process has ended may still count as in use.
const REMOVAL: Duration = Duration::from_secs(1);
/// File system types of cgroups, as in statfs(2).
const MAGIC: [i64; 2] = [0x0027_e0eb, 0x6367_7270];

/// A cgroup of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) version: Version,
    pub(super) controllers: Vec<Controller>,
    pub(super) path: PathBuf,
}

impl Group {
    /// Makes it. What is there of that name is left of this run, and ended first.
    pub(super) fn make(&self) -> Result<(), PathError> {
        match fs::create_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                end(&self.path);
                remove(&self.path)?;
                fs::create_dir(&self.path).context("create", &self.path)
            }
            made => made.context("create", &self.path),
        }
    }
}

/// Says whether `path` is a cgroup, not something else of that name.
pub(super) fn is_cgroup(path: &Path) -> bool {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|data| data.is_dir());
    is_directory && rustix::fs::statfs(path).is_ok_and(|of| MAGIC.contains(&of.f_type))
}

/// Kills everything in the cgroup at `path` and those below it, and returns when it is certain
/// that nothing is alive in them, or only what this user may not signal.
pub(super) fn end(path: &Path) -> TreeEnd {
    let begun = Instant::now();
    let mut said = false;
    let mut killed = HashSet::new();
    let mut nap = Duration::from_micros(200);
    loop {
        let found = processes(path);
        if found.is_empty() {
            return TreeEnd { killed: count(&killed), remaining: Vec::new() };
        }
        let remaining = kill(path, &found, &mut killed);
        if remaining.len() == found.len() {
            return TreeEnd { killed: count(&killed), remaining };
        }
        if !said && begun.elapsed() > PATIENCE {
            said = true;
            let pids: Vec<i32> = found.iter().map(|process| process.pid).collect();
            eprintln!("still waiting for the kernel to end {pids:?} in {path:?}");
        }
        thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(50));
    }
}

/// Kills what was found; returns those that may not be killed.
fn kill(path: &Path, found: &[ProcessStat], killed: &mut HashSet<(i32, u64)>) -> Vec<i32> {
    // At once and without a race, from Linux 5.14 on, in version 2.
    if fs::write(path.join("cgroup.kill"), "1").is_ok() {
        killed.extend(found.iter().map(|process| (process.pid, process.start_time)));
        return Vec::new();
    }
    // So that nothing can fork away meanwhile.
    for (file, text) in [("cgroup.freeze", "1"), ("pids.max", "0")] {
        let _no_such_file = fs::write(path.join(file), text);
    }
    let mut remaining = Vec::new();
    for process in found {
        match send(process, Signal::KILL) {
            Sent::Done => drop(killed.insert((process.pid, process.start_time))),
            Sent::NotAllowed => remaining.push(process.pid),
            Sent::Gone => {}
        }
    }
    remaining
}

fn count(killed: &HashSet<(i32, u64)>) -> u32 {
    u32::try_from(killed.len()).unwrap_or(u32::MAX)
}

/// Lists what is alive in the cgroup at `path` and below it.
fn processes(path: &Path) -> Vec<ProcessStat> {
    let mut found = Vec::new();
    for group in within(path) {
        let pids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        let pids = pids.lines().filter_map(|line| line.parse().ok());
        let stats = pids.filter_map(|pid| ProcessStat::read(pid).ok().flatten());
        found.extend(stats.filter(|process| !process.has_ended()));
    }
    found
}

/// Lists the cgroup at `path` and those below it, the deepest first.
fn within(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    let mut next = 0;
    while let Some(group) = found.get(next) {
        let entries = fs::read_dir(group).into_iter().flatten().flatten();
        let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let below: Vec<_> = below.map(|entry| entry.path()).collect();
        found.extend(below);
        next += 1;
    }
    found.reverse();
    found
}

/// Removes the cgroup at `path`, in which nothing is alive, with those below it. That there is
/// none is as good.
pub(super) fn remove(path: &Path) -> Result<(), PathError> {
    let begun = Instant::now();
    for group in within(path) {
        loop {
            match fs::remove_dir(&group) {
                // The kernel may take a moment to let go of the last process.
                Err(error)
                    if error.kind() == io::ErrorKind::ResourceBusy && begun.elapsed() < REMOVAL =>
                {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).context("remove", group);
                }
                _ => break,
            }
        }
    }
    Ok(())
}
