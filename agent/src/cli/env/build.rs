//! `trainyard env build`: an environment before a run needs it.

use std::sync::atomic::AtomicBool;

use images::cache::Wanted;
use secrecy::SecretString;

use super::asked::{self, Definition};
use crate::cli::following::Printer;
use crate::cli::{Context, Exit, Outcome};

/// Builds an environment before a run needs it
///
/// Prints its key, or for an image as it is, the image's id. It is built by this command, with this
/// user's rights; an agent that builds the same is waited for.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  trainyard env build requirements.txt
  trainyard env build --docker python:3.11-slim requirements.txt
  trainyard env build --fresh")]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    definition: Definition,
    /// Resolves it again, and pulls its image again, whatever was built before
    #[arg(long)]
    fresh: bool,
}

/// Builds an environment.
pub(super) fn build(args: &Args, context: &Context) -> Outcome {
    let workspace = context.workspace()?;
    let (cache, store) = super::open(context, &workspace)?;
    let Definition { definition, change } = &args.definition;
    let (chosen, _hold) =
        asked::choose(definition.as_deref(), change, context, &workspace, &store)?;
    context.terminal.status("Environment", format!("{} ({})", chosen.name, chosen.because));
    let password = chosen.registry_password.clone().map(|password| SecretString::from(password.0));
    let wanted = Wanted {
        environment: &chosen.environment,
        fresh: args.fresh,
        registry_password: password.as_ref(),
        objects: Some(&store),
    };
    let mut printer = Printer::new(&context.terminal, false).with_states(&chosen.name);
    // A log that nobody reads any more stops no build.
    let mut show = |bytes: &[u8]| drop(printer.build(bytes));
    let prepared = cache.prepare(wanted, &mut show, &AtomicBool::new(false));
    printer.finish()?;
    let prepared = prepared?;
    let verb = if prepared.reused { "Reused" } else { "Built" };
    context.terminal.status(verb, &prepared.name);
    match (&prepared.key, &prepared.image) {
        (Some(key), _) => context.print(format!("{key}\n"))?,
        (None, Some(image)) => context.print(format!("{}\n", image.id))?,
        (None, None) => {}
    }
    Ok(Exit::OK)
}
