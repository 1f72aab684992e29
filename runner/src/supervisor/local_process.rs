//! A script that is a process of this machine, with all that descends from it.

use std::os::fd::BorrowedFd;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::supervisor::events::EventLog;
use crate::supervisor::process_tree::{self, Reaper};
use crate::supervisor::verdict::{Findings, ScriptStatus};
use crate::supervisor::workload::{Leftovers, Workload};

/// A child of this process that leads a session and a process group.
#[derive(Debug)]
pub(crate) struct LocalProcess {
    pid: i32,
    reaper: Reaper,
}

impl LocalProcess {
    /// Looks after the child `pid`. No other child of this process may be waited for elsewhere.
    pub(crate) fn new(pid: i32) -> Self {
        Self { pid, reaper: Reaper::new(pid) }
    }
}

impl Workload for LocalProcess {
    fn wakes(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn look(&mut self, _events: &mut EventLog) {
        let _children_left = self.reaper.reap();
    }

    fn status(&self) -> Option<ScriptStatus> {
        self.reaper.status
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

    fn end(&mut self, _events: &mut EventLog) -> Leftovers {
        let was_over = self.reaper.status.is_some();
        let end = process_tree::end_descendants(&mut self.reaper);
        let killed = end.killed.saturating_sub(u32::from(!was_over));
        Leftovers { killed, remaining: end.remaining }
    }

    fn output_may_come(&self) -> bool {
        false
    }

    fn findings(&self) -> Findings {
        Findings::default()
    }

    fn close(self: Box<Self>) {}
}
