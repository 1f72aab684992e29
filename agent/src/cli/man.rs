//! `trainyard man`: the manual pages.

use std::path::PathBuf;

use snapshots::path_error::IoContext;

use super::{Context, Exit, Failure, Outcome};

/// Writes the manual pages into a directory, one for each command
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard man ~/.local/share/man/man1")]
pub(super) struct Args {
    /// The directory; made if it does not exist
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    directory: PathBuf,
}

/// Writes manual pages.
pub(super) fn man(args: &Args, context: &Context) -> Outcome {
    let directory = &args.directory;
    std::fs::create_dir_all(directory).context("create", directory).map_err(Failure::failed)?;
    clap_mangen::generate_to(super::command(), directory)
        .context("write manual pages into", directory)
        .map_err(Failure::failed)?;
    context.terminal.status("Wrote", format!("manual pages into {}", directory.display()));
    Ok(Exit::OK)
}
