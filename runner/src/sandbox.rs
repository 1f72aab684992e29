//! What keeps a run within its bounds on the machine it runs on.
//!
//! ```text
//! policy ─┐
//! host ───┼─▶ plan ──▶ bwrap      arguments for bubblewrap: namespaces and mounts
//! places ─┘        └─▶ inner      our own stage: capabilities, Landlock, system calls, the script
//! ```
//!
//! The plan is a pure function; what it is made from is looked up once, by the supervisor, on the
//! machine that the run is on. The cgroups limit a run and hold it together with or without it.

pub mod bwrap;
pub mod cgroup;
pub mod denials;
pub mod forecast;
pub mod host;
pub mod inner;
pub mod landlock;
pub mod layers;
pub(crate) mod mounts;
pub mod network;
pub mod places;
pub mod plan;
pub mod policy;
mod prefixes;
pub mod probe;
pub mod refused_calls;
pub mod report;
pub mod system_calls;
