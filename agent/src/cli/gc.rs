//! `trainyard gc`: frees what nothing refers to.

use jiff::Timestamp;
use runner::run_configuration::duration::parse_seconds;
use runner::run_configuration::size;

use super::context::SCHEMA_VERSION;
use super::{Context, Exit, Failure, Outcome};
use crate::api::wire::agent::{GcReport, GcRequest, RemovedEnvironment, RemovedTool};
use crate::client::Start;
use crate::terminal::measure;

/// Frees what no run, snapshot or transfer refers to
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard gc --dry-run")]
pub(super) struct Args {
    /// Says what would be freed, and frees nothing
    #[arg(long)]
    dry_run: bool,
    /// Leaves alone what is younger than this, or was used for a build within it
    /// [default: 1d; tools and packages kept for builds: 30d]
    #[arg(long, value_name = "DURATION")]
    grace: Option<String>,
    /// Also removes runs that ended longer ago than this
    #[arg(long, value_name = "DURATION")]
    older: Option<String>,
    /// Also removes environments, those not used for longest first, until the rest takes no more
    /// than this; never one that a run uses [default: environments.max-bytes]
    #[arg(long, value_name = "SIZE")]
    environments: Option<String>,
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
        environment_max_bytes: args
            .environments
            .as_deref()
            .map(size::parse_bytes)
            .transpose()
            .map_err(Failure::usage)?,
    };
    let (client, _) = context.agent(Start::IfNone)?;
    let report = context.wait_for(async { Ok(client.gc(&request).await?) })?;
    if args.json {
        let mut document = serde_json::to_value(&report).map_err(Failure::failed)?;
        document["schemaVersion"] = SCHEMA_VERSION.into();
        document["dryRun"] = args.dry_run.into();
        context.print_json(&document)?;
    } else {
        let (verb, each) =
            if args.dry_run { ("Would free", "Would remove") } else { ("Freed", "Removed") };
        for environment in &report.environments_removed {
            context.terminal.status(each, environment_line(environment, Timestamp::now()));
        }
        for tool in &report.tools_removed {
            context.terminal.status(each, tool_line(tool, Timestamp::now()));
        }
        context.terminal.status(verb, line(&report));
        if report.tool_bytes_left > 0 {
            let bytes = measure::size(report.tool_bytes_left);
            context.terminal.detail(format!("tools and packages kept for builds: {bytes}"));
        }
    }
    Ok(Exit::OK)
}

fn line(report: &GcReport) -> String {
    let parts: Vec<_> = [
        (report.objects_removed, "object"),
        (report.snapshots_removed, "snapshot"),
        (report.runs_removed, "run"),
        (report.environments_removed.len() as u64, "environment"),
        (report.environment_leftovers, "unfinished environment"),
        (report.tools_removed.len() as u64, "tool"),
        (report.containers_removed, "container"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, thing)| measure::count(number, thing))
    .collect();
    let freed = report.bytes_freed + report.environment_bytes_freed + report.tool_bytes_freed;
    let bytes = measure::size(freed);
    if parts.is_empty() { bytes } else { format!("{bytes}: {}", parts.join(", ")) }
}

fn environment_line(environment: &RemovedEnvironment, now: Timestamp) -> String {
    let RemovedEnvironment { key, definition, bytes, last_used_time_utc } = environment;
    let (size, used) = (measure::size(*bytes), measure::ago(*last_used_time_utc, now));
    format!("environment {} ({definition}, {size}, used {used})", key.get(..8).unwrap_or(key))
}

fn tool_line(tool: &RemovedTool, now: Timestamp) -> String {
    let RemovedTool { name, bytes, last_used_time_utc } = tool;
    let what = if name == "conda" { "conda packages" } else { name };
    let (size, used) = (measure::size(*bytes), measure::ago(*last_used_time_utc, now));
    format!("{what} kept for builds ({size}, used {used})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_are_counted_and_told_one_by_one() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let environment = RemovedEnvironment {
            key: "5e1f20ab".repeat(8),
            definition: "requirements.txt".to_owned(),
            bytes: 120_000_000,
            last_used_time_utc: "2026-11-21T09:00:00Z".parse().unwrap(),
        };
        assert_eq!(
            environment_line(&environment, now),
            "environment 5e1f20ab (requirements.txt, 120.0 MB, used 3h ago)"
        );
        let tool = RemovedTool {
            name: "conda".to_owned(),
            bytes: 3_000_000,
            last_used_time_utc: "2026-10-11T12:00:00Z".parse().unwrap(),
        };
        assert_eq!(tool_line(&tool, now), "conda packages kept for builds (3.0 MB, used 1mo ago)");
        let report = GcReport {
            bytes_freed: 1_000_000,
            environments_removed: vec![environment],
            environment_bytes_freed: 120_000_000,
            tools_removed: vec![tool.clone()],
            tool_bytes_freed: 3_000_000,
            containers_removed: 2,
            ..GcReport::default()
        };
        assert_eq!(line(&report), "124.0 MB: 1 environment, 1 tool, 2 containers");
    }

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
