//! The `trainyard` binary: command line, agent (daemon) and per-run supervisor in one.
#![forbid(unsafe_code)]

mod agent;
mod api;
mod cli;
mod client;
mod config;
mod metrics;
mod queue;
mod recovery;
mod run;
mod scheduler;
mod service;
mod store;
mod task;
mod terminal;
mod workspace;

fn main() {}
