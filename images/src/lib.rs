//! Environments: what a run's Python is made of.
//!
//! Reads definitions, computes the key of what determines an environment, builds what has to be
//! built once, keeps it, and cleans up. Knows nothing of runs or the queue.
#![forbid(unsafe_code)]

pub mod builder;
pub mod cache;
mod context;
pub mod definition;
pub mod dockerfile;
pub mod engine;
pub mod environment;
pub mod host;
pub mod interpreter;
pub mod key;
mod process_group;
pub mod progress;
mod registry_login;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod yaml;
