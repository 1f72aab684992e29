//! `trainyard diff`: what differs between two runs.

mod facts;

use anstyle::Style;

use super::comparison::{self, Side};
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
}

/// Compares two runs.
pub(super) fn diff(args: &Args, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    let (old, new) = context
        .wait_for(async { Ok((client.run(&args.old).await?, client.run(&args.new).await?)) })?;
    let all = !(args.code || args.env || args.params || args.metrics);
    let mut sections = Vec::new();
    if all || args.params {
        sections
            .push(("Parameters", facts::differences(&facts::params(&old), &facts::params(&new))));
    }
    if all || args.env {
        let (old, new) = (facts::environment(&old), facts::environment(&new));
        sections.push(("Environment", facts::differences(&old, &new)));
    }
    if all || args.metrics {
        let (old, new) = (facts::metrics(&old), facts::metrics(&new));
        sections.push(("Metrics", facts::differences(&old, &new)));
    }
    for (title, lines) in &sections {
        heading(context, title, sections.len() > 1 || all, lines.is_empty())?;
        let lines: String = lines.iter().map(|line| format!("{}\n", Plain(line))).collect();
        context.print(lines)?;
    }
    if all || args.code {
        code(args, context, &old, &new, all || !sections.is_empty())?;
    }
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
    let store = snapshotting::store(&context.workspace()?)?;
    let side = |run: &Run| -> Result<Side, Failure> {
        let root = run.summary.snapshot_id.parse().map_err(Failure::failed)?;
        Ok(Side::stored(&store, root))
    };
    let (old, new) = (side(old)?, side(new)?);
    let changes = comparison::changes(&old, &new)?;
    heading(context, "Code", with_heading, changes.is_empty())?;
    comparison::show(context, &old, &new, &changes, args.patch)
}
