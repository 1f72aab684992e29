//! Where a run's cgroups can be made, and with which controllers.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};
use snapshots::path_error::{IoContext as _, PathError};

use super::group::Group;
use super::hierarchy::{Controller, Hierarchy, Version, hierarchies};

/// The controllers that every run has where they are to be had: they count what may end it.
const USUAL: [Controller; 2] = [Controller::Memory, Controller::Pids];

/// A cgroup that another can be made in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Base {
    path: PathBuf,
    /// What it gives to those in it.
    given: Vec<Controller>,
    /// What it could give besides, once it is told to.
    could_give: Vec<Controller>,
}

/// A place for a run's cgroup in one tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The version of the tree.
    pub version: Version,
    /// The cgroup in which the run's is made.
    pub path: PathBuf,
    /// The controllers that it has there.
    pub controllers: Vec<Controller>,
}

/// Says where a run that `process` starts would have its cgroups if it asked for the controllers
/// in `asked`. Changes nothing.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn places(process: Option<i32>, asked: &[Controller]) -> Result<Vec<Place>, PathError> {
    let process = process.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let read = |path: String| fs::read_to_string(&path).context("read", path);
    let own = read(format!("/proc/{process}/cgroup"))?;
    let mounts = read("/proc/self/mountinfo".to_owned())?;
    let trees = hierarchies(&own, &mounts);
    Ok(trees.iter().filter_map(|tree| place(tree, asked)).collect())
}

fn place(tree: &Hierarchy, asked: &[Controller]) -> Option<Place> {
    let is_wanted = |it: &Controller| asked.contains(it) || USUAL.contains(it);
    if tree.version == Version::V1 && !tree.controllers.iter().any(is_wanted) {
        return None;
    }
    let bases: Vec<_> =
        tree.bases().filter(|path| is_open(path)).map(|it| base(tree, it)).collect();
    let base = best(bases, asked)?;
    let mut controllers = base.given;
    controllers.extend(base.could_give.into_iter().filter(is_wanted));
    Some(Place { version: tree.version, path: base.path, controllers })
}

/// Says whether this user may make cgroups in the one at `path`, and move what is below it there.
fn is_open(path: &Path) -> bool {
    [path, &path.join("cgroup.procs")].iter().all(|path| access(*path, AccessFlags::W_OK).is_ok())
}

fn base(tree: &Hierarchy, path: &Path) -> Base {
    let path = path.to_owned();
    if tree.version == Version::V1 {
        return Base { path, given: tree.controllers.clone(), could_give: Vec::new() };
    }
    let read = |name| fs::read_to_string(path.join(name)).unwrap_or_default();
    let given = Controller::listed(read("cgroup.subtree_control").split_whitespace());
    let mut could_give = Controller::listed(read("cgroup.controllers").split_whitespace());
    could_give.retain(|it| !given.contains(it));
    // One with processes gives nothing on, but for the root, which has no type.
    let is_root = !path.join("cgroup.type").exists();
    if !is_root && !read("cgroup.procs").is_empty() {
        could_give.clear();
    }
    Base { path, given, could_give }
}

/// Chooses the first that has most of what is asked for, and of those most of the usual. Pure.
fn best(bases: Vec<Base>, asked: &[Controller]) -> Option<Base> {
    let has = |base: &Base, wanted: &[Controller]| {
        wanted.iter().filter(|it| base.given.contains(it) || base.could_give.contains(it)).count()
    };
    // The last of several greatest is returned, so the order is turned round.
    bases.into_iter().rev().max_by_key(|base| (has(base, asked), has(base, &USUAL)))
}

impl Place {
    /// Prepares it, and returns the cgroup `name` there, which is not made yet.
    pub(super) fn prepare(self, name: &str) -> Group {
        let Self { version, path, mut controllers } = self;
        if version == Version::V2 {
            let file = path.join("cgroup.subtree_control");
            for controller in &controllers {
                // One at a time: one that is refused takes no other with it.
                let _known_below = fs::write(&file, format!("+{controller}"));
            }
            let given = fs::read_to_string(&file).unwrap_or_default();
            let given = Controller::listed(given.split_whitespace());
            controllers.retain(|it| given.contains(it));
        }
        Group { version, controllers, path: path.join(name) }
    }
}

#[cfg(test)]
mod tests {
    use Controller::{Cpu, Memory, Pids};

    use super::*;

    fn base_of(path: &str, given: &[Controller], could_give: &[Controller]) -> Base {
        let (given, could_give) = (given.to_vec(), could_give.to_vec());
        Base { path: path.into(), given, could_give }
    }

    fn chosen(bases: &[Base], asked: &[Controller]) -> String {
        let best = best(bases.to_vec(), asked).unwrap();
        best.path.display().to_string()
    }

    #[test]
    fn the_nearest_place_that_has_what_is_asked_for_is_chosen() {
        // A service's cgroup holds the agent; the slice around it gives memory and pids.
        let service = base_of("service", &[], &[]);
        let slice = base_of("slice", &[Memory, Pids], &[]);
        let root = base_of("root", &[Memory, Pids], &[Cpu]);
        let bases = [service.clone(), slice.clone(), root];
        assert_eq!(chosen(&bases, &[]), "slice");
        assert_eq!(chosen(&bases, &[Memory]), "slice");
        assert_eq!(chosen(&bases, &[Memory, Cpu]), "root");
        assert_eq!(chosen(&bases[..2], &[Memory, Cpu]), "slice", "as much as there is");
        // With a subgroup for the agent, the service's is free to give.
        let free = base_of("free", &[], &[Memory, Cpu, Pids]);
        assert_eq!(chosen(&[service, free, slice], &[Cpu]), "free");
        assert_eq!(best(Vec::new(), &[Memory]), None);
    }

    /// A directory that looks like a cgroup of version 2.
    fn group(at: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(at).unwrap();
        fs::write(at.join("cgroup.type"), "domain\n").unwrap();
        for (name, text) in files {
            fs::write(at.join(name), text).unwrap();
        }
    }

    #[test]
    fn one_with_processes_gives_no_more_than_it_does() {
        let root = tempfile::tempdir().unwrap();
        let slice = root.path().join("slice");
        let own = slice.join("service");
        let controllers = ("cgroup.controllers", "cpuset cpu io memory pids\n");
        group(&slice, &[controllers, ("cgroup.subtree_control", "pids\n"), ("cgroup.procs", "")]);
        group(&own, &[controllers, ("cgroup.subtree_control", ""), ("cgroup.procs", "4711\n")]);
        let version = Version::V2;
        let root = root.path().to_owned();
        let tree = Hierarchy { version, controllers: Vec::new(), root, own: own.clone() };

        assert_eq!(base(&tree, &own), base_of(own.to_str().unwrap(), &[], &[]));
        let place = place(&tree, &[]).unwrap();
        let expected = Place { version, path: slice, controllers: vec![Pids, Memory] };
        assert_eq!(place, expected, "processor time only for those who ask");
    }
}
