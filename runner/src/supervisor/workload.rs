//! What a supervisor looks after: a process of this machine, or a container.

use std::os::fd::BorrowedFd;

use crate::sandbox::cgroup::Confinement;
use crate::supervisor::events::EventLog;
use crate::supervisor::verdict::{Findings, ScriptStatus};

/// The script, whatever it runs in, as the event loop sees it.
pub(crate) trait Workload {
    /// Returns what becomes readable when there is something to [`look`](Self::look) at; a
    /// process of this machine tells by a signal.
    fn wakes(&self) -> Vec<BorrowedFd<'_>>;

    /// Looks at how it goes, and says what happened. Does not wait.
    fn look(&mut self, events: &mut EventLog);

    /// Says how the main process ended, once it has.
    fn status(&self) -> Option<ScriptStatus>;

    /// Says whether something of it may be at work although its main process is over.
    fn is_at_work(&self) -> bool;

    /// Asks it to end. Does not wait.
    fn ask_to_end(&mut self);

    /// Kills what is left, and returns when it is certain that nothing is; or, once `is_urgent`,
    /// when that cannot be had in reasonable time.
    fn end(&mut self, events: &mut EventLog, is_urgent: &dyn Fn() -> bool) -> Leftovers;

    /// Says whether somebody may still pass output on although it is over. It wakes us when that
    /// changes.
    fn output_may_come(&self) -> bool;

    /// Says what else is known of its end.
    fn findings(&self) -> Findings;

    /// Says what held its processes together, and what that counted; complete once it is over.
    fn confinement(&self) -> Confinement;

    /// Removes what it leaves behind, once its output has been read.
    fn close(self: Box<Self>);
}

/// What the main process left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leftovers {
    /// How many processes were killed besides the main one.
    pub(crate) killed: u32,
    /// Those that belong to somebody else and go on.
    pub(crate) remaining: Vec<i32>,
}
