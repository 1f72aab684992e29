//! Finds and ends what is left of a run whose supervisor is gone, guard and all.
//!
//! Its processes descend from nobody we know any more. Those in the run's cgroups are ended by
//! these, before; the others, or all where there are none, are found by the run id in the
//! environment they were started with, by the script's session, and by descending from one found
//! so.

use std::collections::HashSet;
use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, getpid};
use snapshots::path_error::PathError;

use crate::durable_file;
use crate::launch::Launch;
use crate::process_identity::ProcessStat;
use crate::run_directory::RunDirectory;
use crate::supervisor::events::{self, Event};
use crate::supervisor::process_tree::{Sent, TreeEnd, below, processes, send};

/// By what processes of a run are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    /// `TRAINYARD_RUN_ID=…`, as it is in the environment.
    variable: Option<Vec<u8>>,
    /// The script's session, with the start time of its leader.
    session: Option<(i32, u64)>,
}

impl Marks {
    /// Reads from `run` how its processes are known.
    pub(crate) fn of(run: &RunDirectory) -> Result<Self, PathError> {
        let launch: Option<Launch> = durable_file::read_json(&run.launch_json())?;
        let variable =
            launch.map(|launch| format!("TRAINYARD_RUN_ID={}", launch.run_id).into_bytes());
        let started = events::read(run)?.into_iter().find_map(|line| match line.event {
            Event::Started { pid, start_time } => Some((pid, start_time)),
            _ => None,
        });
        Ok(Self { variable, session: started })
    }

    /// Says whether `process` belongs to the run, by what can be seen of itself.
    fn fit(&self, process: &ProcessStat) -> bool {
        self.fits_session(process) || self.fits_variable(process.pid)
    }

    /// A session's number is not given away while one of its processes lives, but may be later.
    fn fits_session(&self, process: &ProcessStat) -> bool {
        let Some((session, start_time)) = self.session else { return false };
        let leader = || ProcessStat::read(session).ok().flatten();
        process.session == session
            && process.start_time >= start_time
            && leader().is_none_or(|leader| leader.start_time == start_time)
    }

    fn fits_variable(&self, pid: i32) -> bool {
        let Some(variable) = &self.variable else { return false };
        // What we may not look into is not a process of our user, so none of the run's.
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|entry| entry == variable.as_slice())
    }
}

/// Ends every process with `marks`, and all that descend from one, until none is found twice.
pub(crate) fn sweep(run: &RunDirectory, marks: &Marks) -> Result<TreeEnd, PathError> {
    let mut killed = HashSet::new();
    let mut clean = 0;
    let mut nap = Duration::from_millis(1);
    while clean < 2 {
        let found = find(marks)?;
        let mut remaining = Vec::new();
        for signal in [Signal::STOP, Signal::KILL] {
            for process in &found {
                match send(process, signal) {
                    Sent::Done => drop(killed.insert((process.pid, process.start_time))),
                    Sent::NotAllowed => remaining.push(process.pid),
                    Sent::Gone => {}
                }
            }
        }
        if !found.is_empty() && remaining.len() == 2 * found.len() {
            remaining.truncate(found.len());
            eprintln!("processes {remaining:?} of {:?} belong to somebody else", run.path());
            return Ok(TreeEnd { killed: count(&killed), remaining });
        }
        clean = if found.is_empty() { clean + 1 } else { 0 };
        thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(50));
    }
    Ok(TreeEnd { killed: count(&killed), remaining: Vec::new() })
}

fn count(killed: &HashSet<(i32, u64)>) -> u32 {
    u32::try_from(killed.len()).unwrap_or(u32::MAX)
}

/// Lists the run's processes; never the one that asks, nor one that it descends from.
fn find(marks: &Marks) -> Result<Vec<ProcessStat>, PathError> {
    let all = processes()?;
    let mut spared = HashSet::from([1]);
    let mut next = Some(getpid().as_raw_nonzero().get());
    while let Some(pid) = next {
        let parent = all.iter().find(|process| process.pid == pid).map(|process| process.parent);
        next = parent.filter(|_| spared.insert(pid));
    }
    let mut found: Vec<ProcessStat> = all
        .iter()
        .filter(|process| !spared.contains(&process.pid) && marks.fit(process))
        .copied()
        .collect();
    let mut known: HashSet<i32> = found.iter().map(|process| process.pid).collect();
    for process in found.clone() {
        for child in below(process.pid, &all) {
            if !spared.contains(&child.pid) && known.insert(child.pid) {
                found.push(child);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process that waits for its input to end, known as of the run `id`.
    fn process_of(id: &str) -> (Child, ProcessStat) {
        let mut command = Command::new("cat");
        command.env("TRAINYARD_RUN_ID", id).stdin(Stdio::piped()).process_group(0);
        let child = command.spawn().unwrap();
        let stat = ProcessStat::read(child.id().cast_signed()).unwrap().unwrap();
        (child, stat)
    }

    fn marks(id: &str) -> Marks {
        Marks { variable: Some(format!("TRAINYARD_RUN_ID={id}").into_bytes()), session: None }
    }

    #[test]
    fn only_the_processes_of_the_run_are_ended() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(directory.path());
        let id = format!("sweep_1_{:08x}", std::process::id());
        let (mut meant, _) = process_of(&id);
        let (mut spared, _) = process_of(&format!("{id}0"));

        let end = sweep(&run, &marks(&id)).unwrap();

        assert_eq!(end, TreeEnd { killed: 1, remaining: vec![] });
        assert!(!meant.wait().unwrap().success());
        assert!(spared.try_wait().unwrap().is_none());
        drop(spared.stdin.take());
        assert!(spared.wait().unwrap().success());
    }

    #[test]
    fn whoever_asks_is_spared_with_all_it_descends_from() {
        let me = ProcessStat::read(getpid().as_raw_nonzero().get()).unwrap().unwrap();
        // Our own session, so this process and its parents would fit.
        let leader = ProcessStat::read(me.session).unwrap().map_or(0, |leader| leader.start_time);
        let marks = Marks { variable: None, session: Some((me.session, leader)) };

        let found = find(&marks).unwrap();

        assert!(found.iter().all(|process| process.pid != me.pid && process.pid != me.parent));
    }

    #[test]
    fn a_session_number_that_was_given_away_does_not_fit() {
        let process = |start_time| {
            let me = ProcessStat::read(getpid().as_raw_nonzero().get()).unwrap().unwrap();
            // This process leads the session, as far as the number goes.
            ProcessStat { session: me.pid, start_time, ..me }
        };
        let now = process(0).session;
        let real = ProcessStat::read(now).unwrap().unwrap().start_time;
        let marks = |start_time| Marks { variable: None, session: Some((now, start_time)) };

        assert!(marks(real).fits_session(&process(real)));
        assert!(!marks(real - 1).fits_session(&process(real)), "another leader has the number");
        assert!(!marks(real).fits_session(&process(real - 1)), "older than the run");
        assert!(!Marks::default().fits_session(&process(real)));
    }
}
