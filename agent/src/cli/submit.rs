//! `trainyard submit`: job files, without waiting for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::rerun::{say_submitted, submitted_document};
use super::run::configuration::Wanted;
use super::run::environment::{Chooser, Chosen};
use super::run::{Ready, configuration, job_file, sending};
use super::{Context, Exit, Failure, Outcome, reference, target};
use crate::client::Start;

/// Submits job files and returns
///
/// Reads .runconfig files, v2 command-job YAML, and our own TOML: one or many tables called run,
/// with script or command, arguments, source, and the options of `trainyard run` as keys.
/// Every file is checked before the first run is submitted. Runs of the same source directory
/// have one snapshot of it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trainyard submit sweep/*.yml\n  trainyard submit nightly.toml"
)]
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
    /// Submits once under this key: again, it finds the run that is there. For one run; in a TOML
    /// file each may have its own, as idempotency-key
    #[arg(long, value_name = "TEXT", value_parser = sending::key)]
    idempotency_key: Option<String>,
    /// Prints a JSON array of what was submitted
    #[arg(long)]
    json: bool,
}

/// A run that a file asks for.
struct Job {
    wanted: Wanted,
    chosen: Chosen,
    with: sending::With,
}

/// Submits job files.
pub(super) fn submit(args: &Args, context: &Context) -> Outcome {
    let mut jobs = Vec::new();
    for file in &args.files {
        if file.extension().is_some_and(|extension| extension == "toml") {
            jobs.extend(of_toml(args, file, context)?);
        } else {
            jobs.push(of_azure(args, file, context)?);
        }
    }
    if let Some(key) = &args.idempotency_key {
        let [job] = &mut jobs[..] else {
            let message = format!("--idempotency-key is for one run, and there are {}", jobs.len());
            return Err(Failure::usage(message)
                .hint("give each its own, as idempotency-key in its table of a TOML file"));
        };
        job.with.key = Some(key.clone());
    }
    let (client, agent) = context.agent(Start::IfNone)?;
    for Job { wanted, .. } in &jobs {
        target::check_known(context, &client, &wanted.configuration.target)?;
    }
    let mut documents = Vec::new();
    let mut sender = sending::Sender::new(context, &client, &agent)?;
    for Job { wanted, chosen, with } in jobs {
        let submitted = sender.send(&wanted, &chosen, with)?;
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

/// Reads a file of our own: one run or many.
fn of_toml(args: &Args, file: &Path, context: &Context) -> Result<Vec<Job>, Failure> {
    let runs = job_file::read(file)?.into_iter().map(|mut run| {
        run.submitted_with(args.target.as_deref(), args.fresh, args.conda_from_pip);
        let Ready { wanted, chosen, with, .. } = Ready::new(&run, context)?;
        Ok(Job { wanted, chosen, with })
    });
    runs.collect()
}

/// Reads a file that Azure ML's users have.
fn of_azure(args: &Args, file: &Path, context: &Context) -> Result<Job, Failure> {
    let mut wanted = configuration::of_job_file(file, &context.settings)?;
    if let Some(target) = &args.target {
        wanted.configuration.target.clone_from(target);
    }
    let chooser = Chooser {
        conda_from_pip: args.conda_from_pip,
        ..Chooser::new(context, &wanted.source)?.on(&wanted.configuration.target)
    };
    let chosen = configuration::choose(&wanted, &chooser)?;
    let with = sending::With { secrets: BTreeMap::new(), fresh: args.fresh, key: None };
    Ok(Job { wanted, chosen, with })
}
