//! `trainyard env register`: a name for an environment.

use super::Document;
use super::asked::{self, Change};
use super::remove::split;
use crate::cli::{Context, Exit, Outcome};
use crate::registered::{Definition, Register};

/// Gives an environment a name, for --env
///
/// All that it needs is kept with the name, so that files may change or go. Another definition
/// under the same name is its next version.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  trainyard env register sklearn requirements.txt
  trainyard env register tools:2024-1 --docker registry.example.com/tools:7")]
pub(in crate::cli) struct Args {
    /// The name, and its version if it is not to be the next number
    #[arg(value_name = "NAME[:VERSION]")]
    name: String,
    #[command(flatten)]
    definition: asked::Definition,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Gives an environment a name.
pub(super) fn register(args: &Args, context: &Context) -> Outcome {
    let workspace = context.workspace()?;
    let (_, store) = super::open(context, &workspace)?;
    let asked::Definition { definition, change } = &args.definition;
    let change: &Change = change;
    let (chosen, _hold) =
        asked::choose(definition.as_deref(), change, context, &workspace, &store)?;
    if chosen.registry_password.is_some() {
        context.terminal.warning(
            "the registry's password is not kept with the name; `docker login` keeps one for you",
        );
    }
    let (name, version) = split(&args.name);
    let registered = Register::new(&workspace).save(
        name,
        version,
        Definition {
            definition: chosen.name,
            environment: chosen.environment,
            container: chosen.container,
            variables: chosen.variables,
        },
    )?;
    if args.json {
        context.print_json(&Document::of(&registered))?;
    } else {
        let name = format!("{}:{}", registered.name, registered.version);
        let line = format!("{name} ({}) · --env {name}", registered.definition.definition);
        context.terminal.status("Registered", line);
    }
    Ok(Exit::OK)
}
