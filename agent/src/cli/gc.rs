//! `trainyard gc`: frees what nothing refers to.

use runner::run_configuration::duration::parse_seconds;

use super::context::SCHEMA_VERSION;
use super::{Context, Exit, Failure, Outcome};
use crate::api::wire::agent::{GcReport, GcRequest};
use crate::client::Start;
use crate::terminal::measure;

/// Frees what no run, snapshot or transfer refers to
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard gc --dry-run")]
pub(super) struct Args {
    /// Says what would be freed, and frees nothing
    #[arg(long)]
    dry_run: bool,
    /// Leaves alone what is younger than this [default: 1d]
    #[arg(long, value_name = "DURATION")]
    grace: Option<String>,
    /// Also removes runs that ended longer ago than this
    #[arg(long, value_name = "DURATION")]
    older: Option<String>,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Frees space.
pub(super) fn gc(args: &Args, context: &Context) -> Outcome {
    let seconds = |text: &str| parse_seconds(text).map_err(Failure::usage);
    let request = GcRequest {
        dry_run: args.dry_run,
        grace_seconds: args.grace.as_deref().map(seconds).transpose()?,
        older_than_seconds: args.older.as_deref().map(seconds).transpose()?,
    };
    let (client, _) = context.agent(Start::IfNone)?;
    let report = context.wait_for(async { Ok(client.gc(&request).await?) })?;
    if args.json {
        let mut document = serde_json::to_value(&report).map_err(Failure::failed)?;
        document["schemaVersion"] = SCHEMA_VERSION.into();
        document["dryRun"] = args.dry_run.into();
        context.print_json(&document)?;
    } else {
        let verb = if args.dry_run { "Would free" } else { "Freed" };
        context.terminal.status(verb, line(&report));
    }
    Ok(Exit::OK)
}

fn line(report: &GcReport) -> String {
    let parts: Vec<_> = [
        (report.objects_removed, "object"),
        (report.snapshots_removed, "snapshot"),
        (report.runs_removed, "run"),
        (report.environment_leftovers, "unfinished environment"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, thing)| measure::count(number, thing))
    .collect();
    let bytes = measure::size(report.bytes_freed);
    if parts.is_empty() { bytes } else { format!("{bytes}: {}", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_freed_is_said() {
        let report = GcReport {
            objects_removed: 12,
            snapshots_removed: 1,
            bytes_freed: 4_100_000,
            ..GcReport::default()
        };
        assert_eq!(line(&report), "4.1 MB: 12 objects, 1 snapshot");
        assert_eq!(line(&GcReport::default()), "0 B");
    }
}
