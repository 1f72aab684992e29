//! Finding the processes of a build, whatever became of who started them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Every process of a build has this variable, with the name of the build's directory. It is there
/// from a process's first instant, and stays when a process leaves its group.
pub(super) const VARIABLE: &str = "TRAINYARD_BUILD";

/// How long processes that were killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kills all processes of the build in `directory`, which is a name, and waits until they are gone.
pub(super) fn kill_all(directory: &str) {
    let until = Instant::now() + PATIENCE;
    // Again, because one may have started another while the list was read.
    while kill_those_there_are(&format!("{VARIABLE}={directory}")) > 0 {
        if Instant::now() > until {
            tracing::warn!(directory, "Processes of a build would not end.");
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn kill_those_there_are(marker: &str) -> usize {
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    let ids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(Pid::from_raw).filter(|id| kill_marked(*id, marker)).count()
}

/// Kills the process if it has the marker. True if it had.
fn kill_marked(id: Pid, marker: &str) -> bool {
    if !has_marker(id, marker) {
        return false;
    }
    let Ok(process) = pidfd_open(id, PidfdFlags::empty()) else { return false };
    // It may have ended, and its number been given away, before it was opened; not after.
    has_marker(id, marker) && pidfd_send_signal(&process, Signal::KILL).is_ok()
}

/// Whether the process was started with the marker. One that has ended has no variables.
fn has_marker(id: Pid, marker: &str) -> bool {
    let path = format!("/proc/{}/environ", id.as_raw_nonzero());
    let variables = fs::read(Path::new(&path)).unwrap_or_default();
    variables.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn processes_are_killed_by_their_marker_wherever_they_went() {
        let start = |marker: &str| {
            Command::new("setsid")
                .args(["--wait", "sleep", "64"])
                .env(VARIABLE, marker)
                .spawn()
                .unwrap()
        };
        let mut ours = start("this-very-build");
        let mut others = start("this-very-build-not");
        while !has_marker(Pid::from_child(&ours), &format!("{VARIABLE}=this-very-build")) {
            std::thread::yield_now();
        }

        kill_all("this-very-build");

        assert!(!ours.wait().unwrap().success());
        assert_eq!(others.try_wait().unwrap(), None);
        kill_all("this-very-build-not");
        others.wait().unwrap();
    }
}
