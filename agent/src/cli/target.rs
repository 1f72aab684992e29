//! `trainyard target`: where runs can be carried out.

use super::{Context, Exit, Failure, Outcome};
use crate::cli::context::SCHEMA_VERSION;

/// Lists and shows compute targets
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Lists the compute targets
    #[command(visible_alias = "ls", after_help = "Example:\n  trainyard target list")]
    List {
        /// Prints a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Shows a compute target
    #[command(after_help = "Example:\n  trainyard target show local")]
    Show {
        /// Its name
        #[arg(value_name = "NAME", default_value = "local")]
        name: String,
        /// Prints one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Attaches a machine that can be reached over SSH (not yet)
    #[command(after_help = "Example:\n  trainyard target attach vm ssh://me@vm.example.com")]
    Attach {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        /// Its address
        #[arg(value_name = "ADDRESS")]
        address: String,
    },
    /// Checks that a target can be reached and has what it needs (not yet)
    #[command(after_help = "Example:\n  trainyard target check vm")]
    Check {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Forgets a target (not yet)
    #[command(after_help = "Example:\n  trainyard target detach vm")]
    Detach {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// The one target there is: this machine.
const LOCAL: &str = "local";

/// Carries out one of the commands.
pub(super) fn target(command: &Command, context: &Context) -> Outcome {
    match command {
        Command::List { json } => {
            if *json {
                context.print_json(&[document()])?;
            } else {
                context.print(format!("{LOCAL}\n"))?;
            }
        }
        Command::Show { name, .. } if name != LOCAL => {
            return Err(Failure::usage(format!("there is no compute target {name:?}"))
                .hint("`trainyard target list` shows what there is"));
        }
        Command::Show { json, .. } => {
            if *json {
                context.print_json(&document())?;
            } else {
                context.print("Name    local\nType    local\nRuns    on this machine, as you\n")?;
            }
        }
        Command::Attach { .. } => return Err(Failure::not_yet("target attach")),
        Command::Check { .. } => return Err(Failure::not_yet("target check")),
        Command::Detach { .. } => return Err(Failure::not_yet("target detach")),
    }
    Ok(Exit::OK)
}

fn document() -> serde_json::Value {
    serde_json::json!({ "schemaVersion": SCHEMA_VERSION, "name": LOCAL, "type": LOCAL })
}
