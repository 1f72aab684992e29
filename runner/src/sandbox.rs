//! What keeps a run within its bounds on the machine it runs on.

pub mod cgroup;
