//! Ends a container whose engine does not answer, by its processes.
//!
//! They are known by their cgroup, which bears the container's id whatever they do; what they
//! started descends into the same.

use std::collections::HashSet;
use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::supervisor::process_tree::{Sent, TreeEnd, processes, send};

/// Kills the processes of the container `id`, until none is found twice or those that are left may
/// not be killed. On another machine, or without a cgroup of its own, none is found.
pub(super) fn end_processes(id: &str) -> TreeEnd {
    let mut killed = HashSet::new();
    let mut clean = 0;
    let mut nap = Duration::from_millis(1);
    while clean < 2 {
        let mut found = processes().unwrap_or_default();
        found.retain(|process| {
            let groups = fs::read_to_string(format!("/proc/{}/cgroup", process.pid));
            groups.is_ok_and(|text| is_of(&text, id))
        });
        let mut remaining = Vec::new();
        for process in &found {
            match send(process, Signal::KILL) {
                Sent::Done => drop(killed.insert((process.pid, process.start_time))),
                Sent::NotAllowed => remaining.push(process.pid),
                Sent::Gone => {}
            }
        }
        if !found.is_empty() && remaining.len() == found.len() {
            return TreeEnd { killed: count(&killed), remaining };
        }
        clean = if found.is_empty() { clean + 1 } else { 0 };
        thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(50));
    }
    TreeEnd { killed: count(&killed), remaining: Vec::new() }
}

fn count(killed: &HashSet<(i32, u64)>) -> u32 {
    u32::try_from(killed.len()).unwrap_or(u32::MAX)
}

/// Says whether a process with these cgroups is in the container `id`. Pure.
fn is_of(cgroups: &str, id: &str) -> bool {
    // As `/docker/ID` or `/system.slice/docker-ID.scope`, perhaps with cgroups of its own below.
    let is_named = |part: &str| part == id || part == format!("docker-{id}.scope");
    !id.is_empty() && cgroups.lines().any(|line| line.split('/').any(is_named))
}

/// Says in the record what was done, and what may be left. Pure.
pub(super) fn note(end: &TreeEnd, name: &str) -> String {
    let processes = match end.killed {
        0 => "none of its processes were found to be killed".to_owned(),
        1 => "its process was killed without it".to_owned(),
        count => format!("its {count} processes were killed without it"),
    };
    let remain = match end.remaining.as_slice() {
        [] => String::new(),
        pids => format!(", {pids:?} belong to somebody else and may go on"),
    };
    format!(
        "the container engine did not answer: {processes}{remain}; the container {name} is removed \
         once it answers"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_known_by_its_cgroup() {
        let id = "4f".repeat(32);
        let is_of = |text: String| is_of(&text, &id);
        assert!(is_of(format!("4:memory:/docker/{id}\n0::/\n")));
        assert!(is_of(format!("0::/system.slice/docker-{id}.scope/mine\n")));
        assert!(is_of(format!("0::/user.slice/user@1000.service/docker-{id}.scope\n")));
        assert!(!is_of(format!("0::/docker/{id}0\n")));
        assert!(!is_of("0::/docker\n".to_owned()));
        assert!(!super::is_of("0::/\n", ""), "a container that was never made");
    }

    #[test]
    fn what_was_done_without_an_engine_is_said() {
        let said = |killed, remaining| note(&TreeEnd { killed, remaining }, "c");
        insta::assert_snapshot!([said(0, vec![]), said(1, vec![]), said(2, vec![7])].join("\n"), @"
        the container engine did not answer: none of its processes were found to be killed; the container c is removed once it answers
        the container engine did not answer: its process was killed without it; the container c is removed once it answers
        the container engine did not answer: its 2 processes were killed without it, [7] belong to somebody else and may go on; the container c is removed once it answers
        ");
    }
}
