//! `trainyard submit`: job files, without waiting for them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::rerun::{say_submitted, submitted_document};
use super::run::environment::Chooser;
use super::run::{configuration, sending};
use super::{Context, Exit, Failure, Outcome, reference, target};
use crate::client::Start;

/// Submits job files and returns
///
/// Reads .runconfig files and v2 command-job YAML. Every file is checked before the first run is
/// submitted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard submit sweep/*.yml")]
pub(super) struct Args {
    /// Job files
    #[arg(required = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// Compute target, whatever the files say
    #[arg(long, value_name = "NAME", add = reference::targets())]
    target: Option<String>,
    /// Resolves environments again, and pulls their images again, whatever was built before
    #[arg(long)]
    fresh: bool,
    /// Takes the packages that conda files list from pip, by the same names
    #[arg(long)]
    conda_from_pip: bool,
    /// Prints a JSON array of what was submitted
    #[arg(long)]
    json: bool,
}

/// Submits job files.
pub(super) fn submit(args: &Args, context: &Context) -> Outcome {
    let mut jobs = Vec::new();
    for file in &args.files {
        if file.extension().is_some_and(|extension| extension == "toml") {
            return Err(Failure::not_yet(format!("submitting {}", file.display()))
                .hint("submit takes .runconfig files and v2 command jobs"));
        }
        let mut wanted = configuration::of_job_file(file, &context.settings)?;
        if let Some(target) = &args.target {
            wanted.configuration.target.clone_from(target);
        }
        let chooser = Chooser {
            conda_from_pip: args.conda_from_pip,
            ..Chooser::new(context, &wanted.source)?.on(&wanted.configuration.target)
        };
        let chosen = configuration::choose(&wanted, &chooser)?;
        jobs.push((wanted, chosen));
    }
    let (client, agent) = context.agent(Start::IfNone)?;
    for (wanted, _) in &jobs {
        target::check_known(context, &client, &wanted.configuration.target)?;
    }
    let mut documents = Vec::new();
    for (wanted, chosen) in &jobs {
        let with = sending::With { secrets: BTreeMap::new(), fresh: args.fresh };
        let submitted = sending::send(context, &client, &agent, wanted, chosen, with)?;
        if args.json {
            documents.push(submitted_document(&submitted));
        } else {
            say_submitted(context, &client, &submitted, false)?;
        }
    }
    if args.json {
        context.print_json(&documents)?;
    }
    Ok(Exit::OK)
}
