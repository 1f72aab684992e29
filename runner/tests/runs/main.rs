//! Runs carried out for real: Python scripts under a supervisor, from start to exit record.

#![expect(clippy::unwrap_used, reason = "the lint knows test functions, not what helps them")]

mod cgroup_v2;
mod cgroups;
mod clock;
mod container;
mod container_ends;
mod container_escapes;
mod container_insides;
mod container_kills;
mod contract;
mod ends;
mod engine_restarts;
mod faults;
mod inheritance;
mod kills;
mod output;
mod own_engine;
mod process_tree;
mod sandbox;
mod sandbox_controls;
mod sandbox_escapes;
mod sandbox_layers;
mod sandbox_mounts;
mod sandbox_network;
mod support;
mod target_contract;
