//! A supervisor without the rest of the product: `supervise supervise RUN_DIR`. The tests of
//! this crate start it as the agent starts its own program.

use std::env;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [command, directory] if command == "supervise" => {
            runner::supervisor::supervise(Path::new(directory))
        }
        _ => {
            eprintln!("usage: supervise supervise RUN_DIR");
            ExitCode::from(2)
        }
    }
}
