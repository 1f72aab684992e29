//! `trainyard diff`: what differs between two runs.

mod facts;

use anstyle::Style;
use snapshots::diff::Change;

use self::facts::Difference;
use super::comparison::{self, Side};
use super::context::SCHEMA_VERSION;
use super::{Context, Exit, Failure, Outcome, reference, snapshotting};
use crate::api::wire::run::Run;
use crate::client::Start;
use crate::terminal::Plain;

/// Shows what differs between two runs
///
/// Without one of --code, --env, --params and --metrics, all four.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard diff swift-otter-12 @ --params --metrics")]
pub(super) struct Args {
    /// A run's id, a unique beginning of it, its name, or @ for the latest
    #[arg(value_name = "RUN", value_parser = reference::run, add = reference::runs())]
    old: String,
    /// The run to compare with
    #[arg(value_name = "RUN", value_parser = reference::run, add = reference::runs())]
    new: String,
    /// Files of the snapshots
    #[arg(long)]
    code: bool,
    /// Environments
    #[arg(long)]
    env: bool,
    /// Script, arguments, variables, tags
    #[arg(long)]
    params: bool,
    /// Last values of the metrics
    #[arg(long)]
    metrics: bool,
    /// With the text of changed files
    #[arg(short, long)]
    patch: bool,
    /// Prints one JSON document
    #[arg(long, conflicts_with = "patch")]
    json: bool,
}

/// What differs in one respect: its key in JSON, its title for people.
type Section = (&'static str, &'static str, Vec<Difference>);

/// Compares two runs.
pub(super) fn diff(args: &Args, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    let (old, new) = context
        .wait_for(async { Ok((client.run(&args.old).await?, client.run(&args.new).await?)) })?;
    let all = !(args.code || args.env || args.params || args.metrics);
    let sections = sections(args, all, &old, &new);
    if args.json {
        return print_json(args, context, all, &sections, (&old, &new));
    }
    for (_, title, lines) in &sections {
        heading(context, title, sections.len() > 1 || all, lines.is_empty())?;
        let lines: String =
            lines.iter().map(|line| format!("{}\n", Plain(&line.to_string()))).collect();
        context.print(lines)?;
    }
    if all || args.code {
        code(args, context, &old, &new, all || !sections.is_empty())?;
    }
    Ok(Exit::OK)
}

fn sections(args: &Args, all: bool, old: &Run, new: &Run) -> Vec<Section> {
    let mut sections = Vec::new();
    if all || args.params {
        let differ = facts::differences(&facts::params(old), &facts::params(new));
        sections.push(("params", "Parameters", differ));
    }
    if all || args.env {
        let differ = facts::differences(&facts::environment(old), &facts::environment(new));
        sections.push(("environment", "Environment", differ));
    }
    if all || args.metrics {
        let differ = facts::differences(&facts::metrics(old), &facts::metrics(new));
        sections.push(("metrics", "Metrics", differ));
    }
    sections
}

/// Prints what was asked for, and only that.
fn print_json(
    args: &Args,
    context: &Context,
    all: bool,
    sections: &[Section],
    (old, new): (&Run, &Run),
) -> Outcome {
    let mut document = serde_json::json!({
        "schemaVersion": SCHEMA_VERSION,
        "old": old.summary.run_id,
        "new": new.summary.run_id,
    });
    for (key, _, differ) in sections {
        document[*key] = serde_json::to_value(differ).map_err(Failure::failed)?;
    }
    if all || args.code {
        let (_, _, changes) = code_changes(context, old, new)?;
        document["code"] = changes.iter().map(comparison::document).collect();
    }
    context.print_json(&document)?;
    Ok(Exit::OK)
}

fn heading(context: &Context, title: &str, wanted: bool, same: bool) -> Result<(), Failure> {
    if !wanted {
        return Ok(());
    }
    let title = context.terminal.paint(Style::new().bold(), title);
    let same = if same { "  (the same)" } else { "" };
    context.print(format!("{title}{same}\n"))
}

fn code(
    args: &Args,
    context: &Context,
    old: &Run,
    new: &Run,
    with_heading: bool,
) -> Result<(), Failure> {
    let (old, new, changes) = code_changes(context, old, new)?;
    heading(context, "Code", with_heading, changes.is_empty())?;
    comparison::show(context, &old, &new, &changes, args.patch)
}

fn code_changes(
    context: &Context,
    old: &Run,
    new: &Run,
) -> Result<(Side, Side, Vec<Change>), Failure> {
    let store = snapshotting::store(&context.workspace()?)?;
    let side = |run: &Run| -> Result<Side, Failure> {
        let root = run.summary.snapshot_id.parse().map_err(Failure::failed)?;
        Ok(Side::stored(&store, root))
    };
    let (old, new) = (side(old)?, side(new)?);
    let changes = comparison::changes(&old, &new)?;
    Ok((old, new, changes))
}
