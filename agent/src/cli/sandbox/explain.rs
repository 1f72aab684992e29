//! `trainyard sandbox explain`: what a run may see and do.

use clap::parser::ValueSource;
use clap::{ArgMatches, FromArgMatches};

use super::explained::Explained;
use super::page;
use crate::cli::{Context, Exit, Failure, Outcome, reference, run};

/// Says what a run may see, reach and use, and which system calls it may not make
///
/// Takes a run, or the arguments of `trainyard run` as they are, of which nothing is run. Of a run
/// that has begun it is as it was started, and once it is over as its record says.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  trainyard sandbox explain @
  trainyard sandbox explain --mount /data --network none train.py
  trainyard sandbox explain --json --docker python:3.11-slim train.py")]
#[group(skip)] // `run::Args` has the name.
pub(in crate::cli) struct Args {
    #[command(flatten)]
    of: RunOrArguments,
}

/// The arguments of `run`, where a single word may name a run.
#[derive(Debug)]
struct RunOrArguments {
    arguments: run::Args,
    /// Whether an option was typed, besides `--json`.
    has_options: bool,
}

impl clap::Args for RunOrArguments {
    fn augment_args(command: clap::Command) -> clap::Command {
        run::Args::augment_args(command).mut_arg("script", |script| {
            let help = "A run's id, a unique beginning of it, its name, or @ for the latest, which \
                        it is without a word; or a script, and its arguments";
            script.value_name("RUN | SCRIPT [ARGS]").help(help).add(reference::runs())
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RunOrArguments {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let all = <run::Args as clap::Args>::augment_args(clap::Command::new("run"));
        let typed = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
        let mut names = all.get_arguments().map(|argument| argument.get_id().as_str());
        let has_options =
            names.any(|name| !["script", "json", "help"].contains(&name) && typed(name));
        Ok(Self { arguments: run::Args::from_arg_matches(matches)?, has_options })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl RunOrArguments {
    /// Returns the run that is named, unless a script is, and whether `--json` came after it.
    fn run(&self) -> Option<(&str, bool)> {
        let words: Vec<&str> = self.arguments.words().iter().map(String::as_str).collect();
        let (word, json) = match words[..] {
            [] => ("@", false),
            [word] => (word, false),
            // Whoever has the run from the line before types the option last.
            [word, "--json"] => (word, true),
            _ => return None,
        };
        (!self.has_options && !self.arguments.finds(word)).then_some((word, json))
    }
}

/// Explains the sandbox of a run.
pub(super) fn explain(args: &Args, context: &Context) -> Outcome {
    let (explained, json) = match args.of.run() {
        Some((word, json)) => {
            let run = reference::run(word).map_err(Failure::usage)?;
            (Explained::of_run(&run, context)?, json)
        }
        None => (Explained::of_arguments(&args.of.arguments, context)?, false),
    };
    if json || args.of.arguments.json() {
        context.print_json(&page::document(&explained))?;
    } else {
        context.print(page::text(&explained, context))?;
    }
    Ok(Exit::OK)
}
