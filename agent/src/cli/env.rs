//! `trainyard env`: the environments that were built.

use super::{Context, Failure, Outcome};

/// Lists, shows, builds and removes environments
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Lists the environments that were built
    #[command(visible_alias = "ls", after_help = "Example:\n  trainyard env list")]
    List {
        /// Prints a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Shows an environment with its packages
    #[command(after_help = "Example:\n  trainyard env show 5e1f20ab")]
    Show {
        /// An environment's key or a unique beginning of it
        #[arg(value_name = "KEY")]
        key: String,
        /// Shows the log of its build
        #[arg(long)]
        log: bool,
        /// Prints one JSON document
        #[arg(long, conflicts_with = "log")]
        json: bool,
    },
    /// Removes environments; a run that needs one builds it again
    #[command(visible_alias = "rm", after_help = "Example:\n  trainyard env remove 5e1f20ab")]
    Remove {
        /// Keys or unique beginnings of them
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Builds an environment before a run needs it (not yet)
    #[command(after_help = "Example:\n  trainyard env build requirements.txt")]
    Build {
        /// The definition
        #[arg(value_name = "FILE")]
        file: std::path::PathBuf,
    },
    /// Gives a definition a name (not yet)
    #[command(after_help = "Example:\n  trainyard env register sklearn requirements.txt")]
    Register {
        /// The name
        #[arg(value_name = "NAME")]
        name: String,
        /// The definition
        #[arg(value_name = "FILE")]
        file: std::path::PathBuf,
    },
    /// Says what an environment's key is made of (not yet)
    #[command(after_help = "Example:\n  trainyard env explain requirements.txt")]
    Explain {
        /// The definition
        #[arg(value_name = "FILE")]
        file: std::path::PathBuf,
    },
}

/// Carries out one of the commands.
pub(super) fn env(command: Command, context: &Context) -> Outcome {
    let _ = context;
    Err(Failure::not_yet(match command {
        Command::List { .. } => "env list",
        Command::Show { .. } => "env show",
        Command::Remove { .. } => "env remove",
        Command::Build { .. } => "env build",
        Command::Register { .. } => "env register",
        Command::Explain { .. } => "env explain",
    }))
}
