//! `trainyard sandbox probe`: each layer, tried on this machine.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use runner::sandbox::layers::{self, Holds, Layer, Proof};
use runner::sandbox::plan::Missing;

use crate::cli::context::SCHEMA_VERSION;
use crate::cli::{Context, Exit, Failure, Outcome};
use crate::terminal::Plain;

/// Proves each layer of the sandbox on this machine, by trying to get past it
///
/// Every attempt is made outside first, where it must succeed, then in the sandbox of a run of
/// yours, where it must not. Nothing is sent but to this machine's loopback. The exit code is 1 if a
/// layer that this machine has does not hold; what it does not have is named, with what to do.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  trainyard sandbox probe
  sudo -u trainyard trainyard sandbox probe    for the runs of the machine's service")]
pub(in crate::cli) struct Args {
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Probes the sandbox.
pub(super) fn probe(args: &Args, context: &Context) -> Outcome {
    // Without links: it is what the runs are shown.
    let program = std::env::current_exe().and_then(std::fs::canonicalize)?;
    let proof = layers::prove(&program).map_err(|error| {
        Failure::failed(error).hint("`trainyard doctor` says what this machine has")
    })?;
    let holds = proof.layers.iter().all(|layer| layer.holds != Holds::No);
    if args.json {
        context.print_json(&serde_json::json!({
            "schemaVersion": SCHEMA_VERSION,
            "holds": holds,
            "tier": proof.record.tier,
            "engine": proof.record.engine,
            "layers": proof.layers,
            "missing": proof.missing,
        }))?;
    } else {
        context.print(page(&proof, context))?;
    }
    Ok(if holds { Exit::OK } else { Exit::FAILED })
}

fn page(proof: &Proof, context: &Context) -> String {
    let mut text = String::new();
    for layer in &proof.layers {
        let Layer { name, tried, holds, said } = layer;
        let (word, style) = word(*holds);
        let word = context.terminal.paint(style, &format!("{word:<19}"));
        let said = match (holds, said) {
            (Holds::No, _) => ", and does so in the sandbox".to_owned(),
            (Holds::Unproven, Some(said)) => format!(", which fails outside too: {said}"),
            (_, Some(said)) => format!(": {said}"),
            (_, None) => String::new(),
        };
        writeln!(text, "{name:<17} {word} {tried}{}", Plain(&said))
            .expect("a string takes every text");
    }
    for Missing { layer, why, advice } in &proof.missing {
        writeln!(text, "\nmissing: {layer}: {}\n→ {}", Plain(why), Plain(advice))
            .expect("a string takes every text");
    }
    text
}

fn word(holds: Holds) -> (&'static str, Style) {
    match holds {
        Holds::Yes => ("yes", AnsiColor::Green.on_default()),
        Holds::No => ("no", AnsiColor::Red.on_default().bold()),
        Holds::CannotBeHad => ("cannot be had here", AnsiColor::Yellow.on_default()),
        Holds::Unproven => ("unproven", AnsiColor::Yellow.on_default()),
    }
}
