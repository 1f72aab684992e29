//! Ends every process that descends from this one, and proves that none is left.
//!
//! The calling process is a child subreaper, so whatever a script starts stays its descendant,
//! however often it forks and whatever session it joins.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, kill_process, pidfd_open,
    pidfd_send_signal, wait,
};
use snapshots::path_error::{IoContext as _, PathError};

use crate::process_identity::ProcessStat;
use crate::supervisor::verdict::ScriptStatus;

/// How often new processes are looked for while the known ones are being stopped.
const STOP_ROUNDS: u32 = 8;
/// How long the kernel may take to end what was killed before it is said.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of a process that a signal was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Done,
    Gone,
    NotAllowed,
}

/// What ending a tree came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TreeEnd {
    /// How many processes were killed.
    pub(crate) killed: u32,
    /// Those that belong to somebody else and go on.
    pub(crate) remaining: Vec<i32>,
}

impl TreeEnd {
    /// Adds what ending something else came to, which had none of the same processes alive.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.killed = self.killed.saturating_add(other.killed);
        self.remaining.extend(other.remaining);
        self.remaining.sort_unstable();
        self.remaining.dedup();
        self
    }
}

/// Reaps what has ended among the children of this process; remembers the end of one of them.
#[derive(Debug)]
pub(crate) struct Reaper {
    script: i32,
    pub(crate) status: Option<ScriptStatus>,
}

impl Reaper {
    pub(crate) fn new(script: i32) -> Self {
        Self { script, status: None }
    }

    /// Reaps all that has ended. Says whether there are children left; with a subreaper none
    /// left means no descendant at all, and nothing can slip in between.
    pub(crate) fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(None) => return true,
                Ok(Some((pid, status))) => self.note(pid, status),
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    fn note(&mut self, pid: Pid, status: WaitStatus) {
        if pid.as_raw_nonzero().get() != self.script {
            return;
        }
        if let Some(code) = status.exit_status() {
            self.status = Some(ScriptStatus::Code(code));
        } else if let Some(signal) = status.terminating_signal() {
            self.status = Some(ScriptStatus::Signal(signal));
        }
    }
}

/// Kills every descendant of this process and reaps them all.
///
/// Each round first stops all it finds, so that nothing can fork away from the kill that
/// follows. Returns when no child is left, or only such that this user may not signal. A look at
/// the processes that fails, as when a script has used up all files of the machine, is repeated.
pub(crate) fn end_descendants(reaper: &mut Reaper) -> TreeEnd {
    let begun = Instant::now();
    let mut said = false;
    let mut killed = HashSet::new();
    let mut nap = Duration::from_micros(200);
    let this = getpid().as_raw_nonzero().get();
    while reaper.reap() {
        let mut stopped = HashSet::new();
        for _ in 0..STOP_ROUNDS {
            let found = descendants(this).unwrap_or_default();
            let new: Vec<_> =
                found.into_iter().filter(|process| stopped.insert(key(process))).collect();
            if new.is_empty() {
                break;
            }
            for process in &new {
                send(process, Signal::STOP);
            }
        }
        let mut remaining = Vec::new();
        let found = descendants(this).unwrap_or_default();
        for process in &found {
            match send(process, Signal::KILL) {
                Sent::Done => drop(killed.insert(key(process))),
                Sent::NotAllowed => remaining.push(process.pid),
                Sent::Gone => {}
            }
        }
        if !found.is_empty() && remaining.len() == found.len() {
            return TreeEnd { killed: count(&killed), remaining };
        }
        if !said && begun.elapsed() > PATIENCE {
            said = true;
            let pids: Vec<i32> = found.iter().map(|process| process.pid).collect();
            eprintln!("still waiting for the kernel to end {pids:?}");
        }
        thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(50));
    }
    TreeEnd { killed: count(&killed), remaining: Vec::new() }
}

fn key(process: &ProcessStat) -> (i32, u64) {
    (process.pid, process.start_time)
}

fn count(killed: &HashSet<(i32, u64)>) -> u32 {
    u32::try_from(killed.len()).unwrap_or(u32::MAX)
}

/// Sends `signal` to this very process, not to one that has its number now.
pub(crate) fn send(process: &ProcessStat, signal: Signal) -> Sent {
    let Some(pid) = Pid::from_raw(process.pid) else { return Sent::Gone };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Some(pidfd),
        Err(Errno::SRCH) => return Sent::Gone,
        // Old kernels and some containers have none, and files may be used up.
        Err(_) => None,
    };
    // The descriptor holds on to whoever has the number now; is that the one that was meant?
    match ProcessStat::read(process.pid) {
        Ok(Some(now)) if now.start_time == process.start_time && !now.has_ended() => {}
        _ => return Sent::Gone,
    }
    let sent = match pidfd {
        Some(pidfd) => pidfd_send_signal(pidfd, signal),
        None => kill_process(pid, signal),
    };
    match sent {
        Ok(()) => Sent::Done,
        Err(Errno::PERM) => Sent::NotAllowed,
        Err(_) => Sent::Gone,
    }
}

/// Lists all processes of the machine that have not ended.
pub(crate) fn processes() -> Result<Vec<ProcessStat>, PathError> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("list", "/proc")? {
        let entry = entry.context("list", "/proc")?;
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that cannot be read has ended meanwhile.
        if let Ok(Some(stat)) = ProcessStat::read(pid)
            && !stat.has_ended()
        {
            found.push(stat);
        }
    }
    Ok(found)
}

/// Lists the descendants of `root` that have not ended, as far as one look can tell.
pub(crate) fn descendants(root: i32) -> Result<Vec<ProcessStat>, PathError> {
    Ok(below(root, &processes()?))
}

/// Picks those of `all` that descend from `root`. Pure.
pub(crate) fn below(root: i32, all: &[ProcessStat]) -> Vec<ProcessStat> {
    let mut children: BTreeMap<i32, Vec<ProcessStat>> = BTreeMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(*process);
    }
    let mut found = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        // Taken out: a table read while pids were used again could hold a circle.
        for process in children.remove(&parent).unwrap_or_default() {
            parents.push(process.pid);
            found.push(process);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn process(pid: i32, parent: i32) -> ProcessStat {
        ProcessStat { pid, state: b'S', parent, group: 1, session: 1, start_time: 0 }
    }

    #[test]
    fn descendants_are_found_at_any_depth_and_a_circle_ends() {
        let all = [process(2, 1), process(3, 2), process(4, 3), process(5, 1), process(1, 4)];

        let mut found: Vec<i32> = below(2, &all).iter().map(|process| process.pid).collect();
        found.sort_unstable();

        assert_eq!(found, [1, 2, 3, 4, 5]);
        assert!(below(5, &all).is_empty());
    }

    #[test]
    fn a_signal_never_reaches_the_next_process_with_the_same_number() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let now = ProcessStat::read(child.id().cast_signed()).unwrap().unwrap();
        let earlier = ProcessStat { start_time: now.start_time - 1, ..now };

        assert_eq!(send(&earlier, Signal::KILL), Sent::Gone);
        assert!(child.try_wait().unwrap().is_none());
        assert_eq!(send(&now, Signal::KILL), Sent::Done);
        assert!(!child.wait().unwrap().success());
        assert_eq!(send(&now, Signal::KILL), Sent::Gone);
    }
}
