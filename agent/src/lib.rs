//! All of the `trainyard` program: command line, agent (daemon) and per-run supervisor in one.
//!
//! A library so that what reads strangers' bytes can be tried from outside; nobody else uses it.
#![forbid(unsafe_code)]

mod agent;
mod api;
mod cli;
mod client;
mod config;
mod containers;
mod disk;
mod drain;
#[doc(hidden)]
pub mod fuzzing;
mod gpus;
mod listen;
mod metrics;
mod objects;
mod peer;
mod queue;
mod quota;
mod recovery;
mod registered;
mod run;
mod scheduler;
mod service;
mod statistics;
mod store;
mod targets;
mod task;
mod terminal;
mod token;
mod upkeep;
mod user_database;
mod workspace;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Runs the program as the process was called.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // A supervisor lives as long as its run: it takes the short way, past everything else.
    if let [_, command, run_directory] = arguments.as_slice()
        && command == "supervise"
    {
        return runner::supervisor::supervise(Path::new(run_directory));
    }
    // The first process in the sandbox of a run.
    if let [_, command, rest @ ..] = arguments.as_slice()
        && command == "sandboxed"
    {
        return runner::sandbox::inner::main(rest);
    }
    // What keeps the network of that sandbox.
    if let [_, command, rest @ ..] = arguments.as_slice()
        && command == "sandboxed-network"
    {
        return runner::sandbox::network::keeper::main(rest);
    }
    // What `sandbox probe` tries, outside and inside.
    if let [_, command, rest @ ..] = arguments.as_slice()
        && command == runner::sandbox::layers::attempts::COMMAND
    {
        return runner::sandbox::layers::attempts::main(rest);
    }
    // What an agent on another machine asks of this one; it takes no configuration.
    if let [_, command, rest @ ..] = arguments.as_slice()
        && command == "remote"
        && let Some(code) = runner::remote::main(rest)
    {
        return code;
    }
    cli::main(arguments)
}
