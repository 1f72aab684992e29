//! A script that is a process of this machine, with all that descends from it.
//!
//! In a sandbox it is no child of ours but a grandchild, whose end is reported to us; whoever is
//! between us and it ends with it.

use std::os::fd::BorrowedFd;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::run_configuration::size::print_bytes;
use crate::sandbox::cgroup::{Confinement, RunCgroups};
use crate::supervisor::events::EventLog;
use crate::supervisor::process_tree::{self, Reaper};
use crate::supervisor::sandboxed::Sandboxed;
use crate::supervisor::verdict::{Findings, ScriptStatus};
use crate::supervisor::workload::{Leftovers, Workload};

/// A process below this one that leads a session and a process group.
#[derive(Debug)]
pub(crate) struct LocalProcess {
    pid: i32,
    reaper: Reaper,
    sandboxed: Option<Sandboxed>,
    cgroups: RunCgroups,
}

impl LocalProcess {
    /// Looks after the process `pid`, which is a child unless it is sandboxed. No child of this
    /// process may be waited for elsewhere.
    pub(crate) fn new(pid: i32, sandboxed: Option<Sandboxed>, cgroups: RunCgroups) -> Self {
        let child = sandboxed.as_ref().map_or(pid, |sandboxed| sandboxed.outer);
        Self { pid, reaper: Reaper::new(child), sandboxed, cgroups }
    }

    /// Counts the processes of the script besides its main one, in `sandboxed`, which is made of
    /// a few processes of its own.
    fn others(&self, sandboxed: &Sandboxed) -> u32 {
        let me = rustix::process::getpid().as_raw_nonzero().get();
        let below = process_tree::descendants(me).unwrap_or_default();
        let others = below.iter().filter(|one| one.pid != self.pid && !sandboxed.is_made_of(one));
        u32::try_from(others.count()).unwrap_or(u32::MAX)
    }
}

impl Workload for LocalProcess {
    fn wakes(&self) -> Vec<BorrowedFd<'_>> {
        self.sandboxed.as_ref().map(Sandboxed::wakes).unwrap_or_default()
    }

    fn look(&mut self, _events: &mut EventLog) {
        let _children_left = self.reaper.reap();
        if let Some(sandboxed) = &mut self.sandboxed {
            sandboxed.look();
        }
    }

    fn status(&self) -> Option<ScriptStatus> {
        match &self.sandboxed {
            Some(sandboxed) => sandboxed.status(),
            None => self.reaper.status,
        }
    }

    /// A shell ends at once on TERM; the program it started may still be saving its work.
    fn is_at_work(&self) -> bool {
        let me = rustix::process::getpid().as_raw_nonzero().get();
        process_tree::descendants(me)
            .map_or(true, |below| below.iter().any(|process| process.group == self.pid))
    }

    /// Also continues it, since a stopped process cannot answer.
    fn ask_to_end(&mut self) {
        let Some(group) = Pid::from_raw(self.pid) else { return };
        for signal in [Signal::TERM, Signal::CONT] {
            // The group may have ended by itself just now.
            let _gone = kill_process_group(group, signal);
        }
    }

    fn end(&mut self, _events: &mut EventLog, _is_urgent: &dyn Fn() -> bool) -> Leftovers {
        let was_over = self.status().is_some();
        let others = self.sandboxed.as_ref().map(|sandboxed| self.others(sandboxed));
        if let Some(sandboxed) = &mut self.sandboxed {
            sandboxed.disconnect();
        }
        // What left its cgroups, as root can, still descends from us.
        let end = self.cgroups.end().and(process_tree::end_descendants(&mut self.reaper));
        // With the first process of a sandbox the kernel ends the others: they are not counted then.
        let killed = others.unwrap_or_else(|| end.killed.saturating_sub(u32::from(!was_over)));
        Leftovers { killed, remaining: end.remaining }
    }

    fn output_may_come(&self) -> bool {
        false
    }

    fn findings(&self) -> Findings {
        let refused_calls = self.sandboxed.as_ref().and_then(Sandboxed::refused_calls);
        Findings { refused_calls, ..findings(&self.cgroups.confinement()) }
    }

    fn confinement(&self) -> Confinement {
        self.cgroups.confinement()
    }

    fn close(self: Box<Self>) {
        self.cgroups.close();
    }
}

/// Says what the counts of a run's cgroups mean for its end. Pure.
fn findings(confinement: &Confinement) -> Findings {
    let Confinement { limits, counts, .. } = confinement;
    let killed = counts.oom_kills.filter(|count| *count > 0).map(|count| {
        let killed = if count == 1 { "a process".to_owned() } else { format!("{count} processes") };
        let at_limit = limits.memory_bytes.filter(|_| counts.memory_limit_hits != Some(0));
        let why = match at_limit {
            Some(bytes) => format!("which was at its memory limit of {}", print_bytes(bytes)),
            None => "for the machine was out of memory".to_owned(),
        };
        format!("the kernel killed {killed} of the script, {why}")
    });
    let refused = counts.pids_limit_hits.filter(|count| *count > 0).zip(limits.pids);
    let note = refused.map(|(count, limit)| {
        let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
        format!("it could not start a process or thread {times}, at its limit of {limit}")
    });
    Findings { out_of_memory: killed, note, ..Findings::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::cgroup::{Counts, Holder, ProcessLimits};

    #[test]
    fn counts_say_what_they_are_evidence_of() {
        let mut table = String::new();
        for (oom_kills, memory_limit_hits, pids_limit_hits, memory_bytes, pids) in [
            (None, None, None, None, None),
            (Some(0), Some(7), Some(0), Some(64 << 20), Some(9)),
            (Some(1), Some(7), None, Some(64 << 20), None),
            (Some(2), Some(0), Some(1), Some(64 << 20), Some(9)),
            (Some(2), Some(7), Some(3), None, Some(9)),
            (None, None, Some(3), None, None),
        ] {
            let counts = Counts { oom_kills, memory_limit_hits, pids_limit_hits };
            let limits = ProcessLimits { memory_bytes, pids, cpus: None };
            let by = Confinement::by(Holder::CgroupV2);
            let found = findings(&Confinement { limits, counts, ..by });
            table += &format!("{:?}; {:?}\n", found.out_of_memory, found.note);
        }
        insta::assert_snapshot!(table, @r#"
        None; None
        None; None
        Some("the kernel killed a process of the script, which was at its memory limit of 64m"); None
        Some("the kernel killed 2 processes of the script, for the machine was out of memory"); Some("it could not start a process or thread once, at its limit of 9")
        Some("the kernel killed 2 processes of the script, for the machine was out of memory"); Some("it could not start a process or thread 3 times, at its limit of 9")
        None; None
        "#);
    }
}
