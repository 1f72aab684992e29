//! The cgroups of a run outside of a container: what limits it, and what nothing in it escapes.
//!
//! ```text
//! the agent's cgroup, or one above it that this user may write
//! └─ trainyard-RUN   the script and all it starts; the supervisor stays outside
//! ```
//!
//! In version 1 there is one for each controller, each below the cgroup that the supervisor has
//! there. Where none can be made the run is held together by its process tree alone, without
//! limits, and its record says so.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use snapshots::path_error::PathError;

pub use self::counts::Counts;
use self::group::Group;
pub use self::hierarchy::{Controller, Version};
pub(crate) use self::join::Join;
pub use self::limits::{Limited, ProcessLimits};
pub use self::place::{Place, places};
use crate::durable_file;
use crate::launch::Launch;
use crate::run_directory::RunDirectory;
use crate::run_id::RunId;
use crate::supervisor::events::{self, Event, EventLog};
use crate::supervisor::process_tree::TreeEnd;

mod counts;
mod group;
mod hierarchy;
mod join;
mod limits;
mod place;

/// As much of a run's id as fits into a file name with what is in front of it: its end, which is
/// what tells runs apart.
const LONGEST_ID: usize = 200;

/// What holds the processes of a run together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// A container.
    Container,
    /// A cgroup of version 2.
    CgroupV2,
    /// Cgroups of version 1, at least for its limits.
    CgroupV1,
    /// That they descend from its supervisor.
    ProcessTree,
}

/// How a run was held together, what it could use and what was counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Confinement {
    /// What holds its processes together.
    pub holder: Holder,
    /// The limits that it had.
    #[serde(default)]
    pub limits: ProcessLimits,
    /// What was to be limited and could not be.
    #[serde(default)]
    pub lost: Vec<String>,
    /// What its cgroups counted.
    #[serde(flatten)]
    pub counts: Counts,
}

impl Confinement {
    /// One of which nothing is known but what holds it together.
    #[must_use]
    pub fn by(holder: Holder) -> Self {
        let (limits, lost) = (ProcessLimits::default(), Vec::new());
        Self { holder, limits, lost, counts: Counts::default() }
    }
}

/// The cgroups of one run.
#[derive(Debug)]
pub(crate) struct RunCgroups {
    groups: Vec<Group>,
    limits: ProcessLimits,
    lost: Vec<Limited>,
}

impl RunCgroups {
    /// Makes the cgroups of `run` with their limits, as far as they are to be had; says first
    /// where, so that they are found whatever happens.
    pub(crate) fn make(run: &RunId, limits: &ProcessLimits, events: &mut EventLog) -> Self {
        let places = places(None, &limits.needs()).unwrap_or_else(|error| {
            eprintln!("{error}");
            Vec::new()
        });
        let groups = places.into_iter().map(|place| place.prepare(&name(run))).collect();
        let mut this = Self { groups, limits: limits.clone(), lost: limits.limited() };
        this.say(events);
        this.groups.retain(|group| match group.make() {
            Ok(()) => true,
            Err(error) => {
                eprintln!("{error}");
                false
            }
        });
        for group in &this.groups {
            apply(group, limits, &mut this.lost);
        }
        this.tidy_lost();
        this
    }

    fn say(&self, events: &mut EventLog) {
        let cgroups = self.groups.iter().map(|group| group.path.clone()).collect();
        events.say(Event::Confined { holder: self.holder(), cgroups });
    }

    fn holder(&self) -> Holder {
        match self.groups.iter().map(|group| group.version).min() {
            None => Holder::ProcessTree,
            Some(Version::V1) => Holder::CgroupV1,
            Some(Version::V2) => Holder::CgroupV2,
        }
    }

    /// Opens the way in for the script.
    pub(crate) fn join(&mut self) -> Option<Arc<Join>> {
        match Join::open(self.groups.iter().map(|group| group.path.as_path())) {
            Ok(join) => Some(Arc::new(join)),
            Err(error) => {
                eprintln!("cannot open the run's cgroups: {error}");
                let all = (0..self.groups.len()).collect::<Vec<_>>();
                self.leave_out(&all);
                None
            }
        }
    }

    /// Takes note of what the script, which was started, did not get into.
    pub(crate) fn entered(&mut self, join: Option<&Join>, events: &mut EventLog) {
        let before = self.groups.len();
        self.leave_out(&join.map(Join::refused).unwrap_or_default());
        if self.groups.len() != before || join.is_none() {
            self.say(events);
        }
        if !self.lost.is_empty() {
            let limits = self.lost.iter().map(ToString::to_string).collect();
            events.say(Event::CgroupLimitsLost { limits });
        }
    }

    /// Does without the cgroups with these numbers.
    fn leave_out(&mut self, numbers: &[usize]) {
        for &number in numbers.iter().rev() {
            let group = self.groups.remove(number);
            let settings =
                group.controllers.iter().flat_map(|it| self.limits.settings(*it, group.version));
            self.lost.extend(settings.map(|setting| setting.limits));
            close(&group.path);
        }
        self.tidy_lost();
    }

    /// Says each thing once; swap is nothing to speak of where there is none, nor where memory as
    /// a whole has no limit.
    fn tidy_lost(&mut self) {
        self.lost.sort_unstable();
        self.lost.dedup();
        if self.lost.contains(&Limited::Memory) || !swap_is_on() {
            self.lost.retain(|it| *it != Limited::Swap);
        }
    }

    /// Ends what is in them.
    pub(crate) fn end(&self) -> TreeEnd {
        let ends = self.groups.iter().map(|group| group::end(&group.path));
        ends.fold(TreeEnd::default(), TreeEnd::and)
    }

    /// Says what came of it.
    pub(crate) fn confinement(&self) -> Confinement {
        let mut counts = Counts::default();
        for Group { version, controllers, path } in &self.groups {
            if controllers.contains(&Controller::Memory) {
                let pids_limit_hits = counts.pids_limit_hits;
                counts = Counts { pids_limit_hits, ..counts::of_memory(path, *version) };
            }
            if controllers.contains(&Controller::Pids) {
                counts.pids_limit_hits = counts::pids_limit_hits(path);
            }
        }
        let held = |limited| !self.lost.contains(&limited);
        let limits = ProcessLimits {
            memory_bytes: self.limits.memory_bytes.filter(|_| held(Limited::Memory)),
            cpus: self.limits.cpus.filter(|_| held(Limited::Cpu)),
            pids: self.limits.pids.filter(|_| held(Limited::Pids)),
        };
        let lost = self.lost.iter().map(ToString::to_string).collect();
        Confinement { holder: self.holder(), limits, lost, counts }
    }

    /// Removes them. Nothing is alive in them any more.
    pub(crate) fn close(self) {
        for group in &self.groups {
            close(&group.path);
        }
    }
}

/// Returns what the cgroups of `run` are called.
fn name(run: &RunId) -> String {
    let id = run.as_str();
    format!("trainyard-{}", &id[id.len().saturating_sub(LONGEST_ID)..])
}

/// Writes the limits that `group` is for, and takes those that hold off `lost`.
fn apply(group: &Group, limits: &ProcessLimits, lost: &mut Vec<Limited>) {
    for controller in &group.controllers {
        for setting in limits.settings(*controller, group.version) {
            let path = group.path.join(setting.file);
            // Never made: a kernel that has no such limit has no such file.
            let file = OpenOptions::new().write(true).open(&path);
            match file.and_then(|mut file| file.write_all(setting.text.as_bytes())) {
                Ok(()) => lost.retain(|it| *it != setting.limits),
                Err(error) => eprintln!("cannot write {:?} into {path:?}: {error}", setting.text),
            }
        }
    }
}

/// Says whether this machine has anything to swap to.
fn swap_is_on() -> bool {
    fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1)
}

/// Removes the cgroup at `path`. One that stays is empty, and does no harm.
fn close(path: &Path) {
    if let Err(error) = group::remove(path) {
        eprintln!("{error}");
    }
}

/// Ends what is in the cgroups that the supervisor of `run`, which is gone, had made, and removes
/// them.
///
/// # Errors
///
/// The run directory cannot be read.
pub(crate) fn end_lost(run: &RunDirectory) -> Result<TreeEnd, PathError> {
    let mut all = TreeEnd::default();
    for path in recorded(run)? {
        let end = group::end(&path);
        if end.remaining.is_empty() {
            close(&path);
        }
        all = all.and(end);
    }
    Ok(all)
}

/// Lists those of the cgroups in the events of `run` that are there. The script could have written
/// into that file: nothing but what is called as the run's cgroups are counts.
fn recorded(run: &RunDirectory) -> Result<Vec<PathBuf>, PathError> {
    let launch: Option<Launch> = durable_file::read_json(&run.launch_json())?;
    let Some(name) = launch.map(|launch| name(&launch.run_id)) else { return Ok(Vec::new()) };
    let said = events::read(run)?.into_iter().filter_map(|line| match line.event {
        Event::Confined { cgroups, .. } => Some(cgroups),
        _ => None,
    });
    let is_ours = |path: &PathBuf| {
        path.file_name().is_some_and(|last| last == name.as_str()) && group::is_cgroup(path)
    };
    let mut paths: Vec<_> = said.flatten().filter(is_ours).collect();
    paths.dedup();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_called_after_its_run_as_far_as_a_name_goes() {
        let run = |id: &str| id.parse::<RunId>().unwrap();
        assert_eq!(name(&run("exp_1_00000002")), "trainyard-exp_1_00000002");

        let long = RunId::generate(&"x".repeat(300), 1_700_000_000, 7);
        assert!(name(&long).len() <= 255 && name(&long).ends_with("x_1700000000_00000007"));
    }

    #[test]
    fn nothing_is_ended_but_cgroups_that_are_called_after_the_run() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(directory.path());
        let mut events = EventLog::open(&run).unwrap();
        let mimic = directory.path().join("trainyard-exp_1_00000002");
        fs::create_dir(&mimic).unwrap();
        let link = directory.path().join("link/trainyard-exp_1_00000002");
        fs::create_dir(directory.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/sys/fs/cgroup", &link).unwrap();
        let cgroups = ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/gone/trainyard-exp_1_00000002"];
        let cgroups = cgroups.map(PathBuf::from).into_iter().chain([mimic, link]).collect();
        events.say(Event::Confined { holder: Holder::CgroupV1, cgroups });
        assert!(recorded(&run).unwrap().is_empty(), "nobody knows which run it is");

        let launch = r#"{"version":1,"runId":"exp_1_00000002","program":["x"],"environment":{},
            "workingDirectory":"work"}"#;
        fs::write(run.launch_json(), launch).unwrap();

        assert_eq!(recorded(&run).unwrap(), Vec::<PathBuf>::new());
        assert_eq!(end_lost(&run).unwrap(), TreeEnd::default());
    }
}
