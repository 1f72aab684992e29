//! The other side of an SSH target: this program on a virtual machine, asked in frames over its
//! stdin and stdout.
//!
//! ```text
//! agent ── SSH, one exec channel ──▶ `trainyard remote serve` ──▶ store, environments, runs
//!                                         │ starts, detached
//!                                         ├──▶ `trainyard remote prepare RUN_DIR`
//!                                         └──▶ `trainyard supervise RUN_DIR`
//! ```
//!
//! The server keeps nothing between two requests: what was asked for is in files, and whoever was
//! cut off asks again. Everything that takes long is done by a process that does not depend on the
//! connection, and every request may come twice.

pub mod client;
pub mod files;
pub mod frame;
pub mod message;
pub mod report;
pub mod server;

mod ahead;
mod bytes;
mod cleaning;
mod lock;
mod preparing;
mod refusal;
mod run;
mod workshop;

pub use preparing::prepare;

use std::error::Error;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::ExitCode;

use snapshots::error_chain::chain;

use self::files::RemoteHome;
use crate::run_directory::RunDirectory;

/// Carries out `serve` or `prepare RUN_DIR`, what comes after `trainyard remote`; `None` when
/// `arguments` are neither. The state directory is [`RemoteHome::of_this_user`].
///
/// Run directories and links to them are given by whoever serves, never by users.
#[must_use]
pub fn main(arguments: &[OsString]) -> Option<ExitCode> {
    let home = RemoteHome::of_this_user();
    let done = match arguments {
        [command] if command == "serve" => {
            program().and_then(|program| Ok(serve_standard_streams(&home, program)?))
        }
        [command, run] if command == "prepare" => {
            program().and_then(|program| Ok(prepare(&home, program, &RunDirectory::new(run))?))
        }
        _ => return None,
    };
    Some(done.map_or_else(
        |error: Box<dyn Error>| {
            eprintln!("{}", chain(error.as_ref()));
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    ))
}

fn program() -> Result<PathBuf, Box<dyn Error>> {
    Ok(std::env::current_exe()?)
}

/// Serves on stdin and stdout, which nothing else reads or writes from then on.
fn serve_standard_streams(home: &RemoteHome, program: PathBuf) -> io::Result<()> {
    let from = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut to = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    match server::serve(home, program, from, &mut to) {
        // Whoever asked has gone: there is nobody to tell.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        served => served,
    }
}
