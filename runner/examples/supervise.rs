//! A supervisor without the rest of the product, for the tests of this crate.
//!
//! `supervise supervise RUN_DIR` is what the agent starts of its own program; `supervise start
//! RUN_DIR` is an agent that starts a supervisor and is killed on the spot; `supervise remote …` is
//! what an agent on another machine asks of its own program here; `supervise sandboxed …` is the
//! first process in a sandbox, and `supervise sandboxed-network …` keeps its network; `supervise
//! filtered PROGRAM …` carries out a program with the sandbox's filter of system calls alone.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use runner::compute_target::supervisors::Supervisors;
use runner::run_directory::RunDirectory;
use rustix::process::{Signal, getpid, kill_process};

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [command, directory] if command == "supervise" => {
            runner::supervisor::supervise(Path::new(directory))
        }
        [command, rest @ ..] if command == "remote" => {
            runner::remote::main(rest).expect("serve, or prepare RUN_DIR")
        }
        [command, rest @ ..] if command == "sandboxed" => runner::sandbox::inner::main(rest),
        [command, rest @ ..] if command == "sandboxed-network" => {
            runner::sandbox::network::keeper::main(rest)
        }
        [command, program, rest @ ..] if command == "filtered" => {
            runner::sandbox::system_calls::install().expect("the filter is installed");
            let error = Command::new(program).args(rest).exec();
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        [command, directory] if command == "start" => {
            let target = Supervisors::new(env::current_exe().expect("this program has a path"));
            let started = target.start(&RunDirectory::new(directory));
            started.expect("the supervisor starts");
            let _never_returns = kill_process(getpid(), Signal::KILL);
            ExitCode::FAILURE
        }
        _ => {
            eprintln!("usage: supervise supervise RUN_DIR");
            ExitCode::from(2)
        }
    }
}
