//! `trainyard gc`: frees what nothing refers to.

use jiff::Timestamp;
use runner::remote::message::Cleaned;
use runner::run_configuration::duration::parse_seconds;
use runner::run_configuration::size;

use super::context::SCHEMA_VERSION;
use super::target::waiting;
use super::{Context, Exit, Failure, Outcome, reference};
use crate::api::wire::agent::{GcReport, GcRequest, RemovedEnvironment, RemovedTool};
use crate::api::wire::target::{CleanReport, CleanRequest};
use crate::client::Start;
use crate::targets::LOCAL;
use crate::terminal::measure;

/// Frees what no run, snapshot or transfer refers to
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trainyard gc --dry-run\n  trainyard gc --target gpu-vm --dry-run"
)]
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
    /// Cleans an attached machine in place of this one: ended runs that no agent came back for
    /// within --older [default: 7d], and with --environments what of objects and environments is
    /// over that
    #[arg(long, value_name = "NAME", add = reference::targets(), conflicts_with = "grace")]
    target: Option<String>,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Frees space.
pub(super) fn gc(args: &Args, context: &Context) -> Outcome {
    if let Some(target) = args.target.as_ref().filter(|target| *target != LOCAL) {
        return elsewhere(args, target, context);
    }
    let seconds = |text: &str| parse_seconds(text).map_err(Failure::usage);
    let request = GcRequest {
        dry_run: args.dry_run,
        grace_seconds: args.grace.as_deref().map(seconds).transpose()?,
        older_than_seconds: args.older.as_deref().map(seconds).transpose()?,
        environment_max_bytes: most_bytes(args)?,
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

fn most_bytes(args: &Args) -> Result<Option<u64>, Failure> {
    args.environments.as_deref().map(size::parse_bytes).transpose().map_err(Failure::usage)
}

/// Frees space on an attached machine.
fn elsewhere(args: &Args, target: &str, context: &Context) -> Outcome {
    const OLDER: u64 = 7 * 24 * 60 * 60;
    let older = args.older.as_deref().map(parse_seconds).transpose().map_err(Failure::usage)?;
    let request = CleanRequest {
        runs_older_seconds: older.unwrap_or(OLDER),
        max_bytes: most_bytes(args)?,
        dry_run: args.dry_run,
    };
    let (client, _) = context.agent(Start::IfNone)?;
    let segments = ["targets", target, "clean"];
    let cleaning = client.post::<CleanReport>(&segments, &request, "clean up");
    let report = waiting(context, "Cleaning", target, async { Ok(cleaning.await?) })?;
    if args.json {
        let mut document = serde_json::to_value(&report).map_err(Failure::failed)?;
        document["schemaVersion"] = SCHEMA_VERSION.into();
        document["dryRun"] = args.dry_run.into();
        document["target"] = target.into();
        context.print_json(&document)?;
    } else {
        let verb = if args.dry_run { "Would free" } else { "Freed" };
        context.terminal.status(verb, format!("{} on {target}", line_elsewhere(&report.cleaned)));
    }
    Ok(Exit::OK)
}

/// Returns how many bytes went from an attached machine, and of what.
pub(super) fn line_elsewhere(cleaned: &Cleaned) -> String {
    let bytes = cleaned.run_bytes + cleaned.object_bytes + cleaned.environment_bytes;
    let bytes = bytes + cleaned.program_bytes;
    let things =
        [(cleaned.runs, "run"), (cleaned.objects, "object"), (cleaned.environments, "environment")];
    told(bytes, &things)
}

fn line(report: &GcReport) -> String {
    let things = [
        (report.objects_removed, "object"),
        (report.snapshots_removed, "snapshot"),
        (report.runs_removed, "run"),
        (report.environments_removed.len() as u64, "environment"),
        (report.environment_leftovers, "unfinished environment"),
        (report.tools_removed.len() as u64, "tool"),
        (report.containers_removed, "container"),
    ];
    let bytes = report.bytes_freed + report.run_bytes_freed;
    told(bytes + report.environment_bytes_freed + report.tool_bytes_freed, &things)
}

/// Returns how many bytes went, and of what, as far as something did.
fn told(bytes: u64, things: &[(u64, &str)]) -> String {
    let some = things.iter().filter(|(number, _)| *number > 0);
    let parts: Vec<_> = some.map(|(number, thing)| measure::count(*number, thing)).collect();
    let bytes = measure::size(bytes);
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
    fn what_goes_elsewhere_is_counted_too() {
        let cleaned = Cleaned { runs: 2, run_bytes: 1_000_000, ..Cleaned::default() };
        assert_eq!(line_elsewhere(&cleaned), "1.0 MB: 2 runs");
        assert_eq!(line_elsewhere(&Cleaned::default()), "0 B");
    }

    #[test]
    fn only_what_was_freed_is_said() {
        let report = GcReport {
            objects_removed: 12,
            snapshots_removed: 1,
            bytes_freed: 4_100_000,
            runs_removed: 2,
            run_bytes_freed: 2_000_000,
            ..GcReport::default()
        };
        assert_eq!(line(&report), "6.1 MB: 12 objects, 1 snapshot, 2 runs");
        assert_eq!(line(&GcReport::default()), "0 B");
    }
}
