//! What strangers can hand in, thrown at what reads it.
//!
//! Each target takes any bytes and must come back: without a panic, without much time or memory,
//! and with what it promises of what it read. `fuzz/corpus/NAME` holds bytes that each begins with.
//! A plain test gives every target its corpus and what is close to it; `tests/fuzz` lets a fuzzer
//! look for more.

mod configuration;
mod objects;
mod results;

/// Something that reads strangers' bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called, as the directory of its corpus.
    pub name: &'static str,
    /// Reads them.
    pub read: fn(&[u8]),
}

/// All there are.
pub const TARGETS: &[Target] = &[
    Target { name: "api", read: trainyard::fuzzing::api },
    Target { name: "conda-file", read: configuration::conda_file },
    Target { name: "dockerfile", read: configuration::dockerfile },
    Target { name: "dockerignore", read: objects::dockerignore },
    Target { name: "frames", read: results::frames },
    Target { name: "ignore-file", read: objects::ignore_file },
    Target { name: "job-file", read: trainyard::fuzzing::job_file },
    Target { name: "log", read: results::log },
    Target { name: "metrics", read: results::metrics },
    Target { name: "pack", read: objects::pack },
    Target { name: "requirements", read: configuration::requirements },
    Target { name: "run-configuration", read: configuration::run_configuration },
    Target { name: "shown-log", read: trainyard::fuzzing::shown_log },
    Target { name: "tree", read: objects::tree },
];

/// Returns the target of that name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}
