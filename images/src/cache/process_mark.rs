//! A process group as it is written down, to be ended by whoever finds its owner dead.

use std::fs;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

/// Names a process group by its leader, such that nobody else can be taken for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProcessMark {
    boot_id: String,
    pid: u32,
    /// In clock ticks since boot.
    start_time: u64,
}

impl ProcessMark {
    /// Returns the mark of a process that lives.
    pub(super) fn of(pid: u32) -> Option<Self> {
        Some(Self { boot_id: boot_id()?, pid, start_time: start_time(pid)? })
    }

    /// Kills the group, if its leader is still the same process.
    pub(super) fn kill(&self) {
        let alive = boot_id().as_ref() == Some(&self.boot_id)
            && start_time(self.pid) == Some(self.start_time);
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let (true, Some(pid)) = (alive, pid)
            && let Err(error) = kill_process_group(pid, Signal::KILL)
        {
            tracing::warn!(pid = self.pid, %error, "Could not end a left-over build.");
        }
    }
}

fn boot_id() -> Option<String> {
    Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the 20th field after it is the start time.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn only_the_very_process_is_killed() {
        let mut child = Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let mark = ProcessMark::of(child.id()).unwrap();

        ProcessMark { start_time: mark.start_time + 1, ..mark.clone() }.kill();
        ProcessMark { boot_id: "another".to_owned(), ..mark.clone() }.kill();
        assert_eq!(child.try_wait().unwrap(), None);
        mark.kill();

        assert!(!child.wait().unwrap().success());
    }
}
