//! `trainyard agent status`.

use std::fmt::Write;

use jiff::Timestamp;

use crate::api::wire::agent::{AgentStatus, UserUsage};
use crate::cli::{Context, Exit, Failure, Outcome};
use crate::client::Start;
use crate::disk::governor::DiskReport;
use crate::listen::Listening;
use crate::statistics::{Histogram, StatisticsReport};
use crate::terminal::{Plain, measure};

/// Says how the agent is and what it has done.
pub(super) fn status(json: bool, context: &Context) -> Outcome {
    let (client, status) = context.agent(Start::Never)?;
    let statistics: StatisticsReport =
        context.wait_for(async { Ok(client.get(&["statistics"], &()).await?) })?;
    let usage: UserUsage = context.wait_for(async { Ok(client.get(&["usage"], &()).await?) })?;
    if json {
        let mut document = serde_json::to_value(&status).map_err(Failure::failed)?;
        document["statistics"] = serde_json::to_value(&statistics).map_err(Failure::failed)?;
        document["usage"] = serde_json::to_value(&usage).map_err(Failure::failed)?;
        context.print_json(&document)?;
        return Ok(Exit::OK);
    }
    let now = Timestamp::now();
    let moment = |moment| match context.terminal.out_is_terminal() {
        true => measure::ago(moment, now),
        false => measure::rfc3339(moment),
    };
    context.print(text(&status, &statistics, &usage, moment))?;
    Ok(Exit::OK)
}

fn text(
    status: &AgentStatus,
    statistics: &StatisticsReport,
    usage: &UserUsage,
    moment: impl Fn(Timestamp) -> String,
) -> String {
    let counts = &statistics.counts;
    let mut lines = vec![
        ("Version", status.version.clone()),
        ("Process", status.pid.to_string()),
        ("State", status.home.display().to_string()),
        ("Started", moment(status.started_time_utc)),
        ("Running", format!("{} of {}", status.runs.running, status.concurrency)),
        ("Queued", status.runs.queued.to_string()),
    ];
    if let Some(listening) = &status.listening {
        lines.push(("Listening", listening_line(listening)));
    }
    if let Some(draining) = &status.draining {
        let since = moment(draining.since_time_utc);
        lines.push(("Draining", format!("since {since}, asked by uid {}", draining.asked_by_uid)));
    }
    let disk = &statistics.disk;
    lines.push(("Disk", disk_line(disk)));
    lines.push(("Store", within(statistics.store_bytes, disk.max_object_bytes)));
    let environments = within(statistics.environment_bytes, disk.max_environment_bytes);
    let asked = counts.environments_reused + counts.environments_built;
    lines.push((
        "Environments",
        match asked {
            0 => environments,
            _ => format!("{environments}; {} of {asked} reused", counts.environments_reused),
        },
    ));
    lines.push(("Past runs", within(disk.run_bytes, disk.max_run_bytes)));
    lines.push(("Logs", within(disk.log_bytes, disk.max_log_bytes)));
    let reasons: Vec<_> =
        counts.ended.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    if !reasons.is_empty() {
        lines.push(("Ended", reasons.join(", ")));
    }
    lines.extend(on_average("Waited", &counts.queue_wait));
    lines.extend(on_average("Prepared", &counts.preparation));
    if counts.recovered > 0 {
        lines.push(("Recovered", measure::count(counts.recovered, "run")));
    }
    lines.push(("You", yours(usage)));
    let mut text = String::new();
    for (name, value) in lines {
        writeln!(text, "{name:<12} {}", Plain(&value)).expect("a string takes every text");
    }
    text
}

/// Returns what the one who asks has, and may have.
fn yours(usage: &UserUsage) -> String {
    let of = |limit: Option<String>| limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
    format!(
        "{}{} not over, {}{}",
        measure::count(usage.runs, "run"),
        of(usage.max_runs.map(|limit| limit.to_string())),
        measure::size(usage.bytes),
        of(usage.max_bytes.map(measure::size)),
    )
}

/// Returns how the agent is reached over TCP, and until when its certificate is good.
fn listening_line(listening: &Listening) -> String {
    let Listening { url, certificate, certificate_expires_time_utc } = listening;
    let Some(certificate) = certificate else { return format!("{url}, for this machine alone") };
    let until = certificate_expires_time_utc.map(|end| format!(" until {}", measure::rfc3339(end)));
    format!("{url}, certificate {}{}", certificate.display(), until.unwrap_or_default())
}

/// Returns what is free, and that no run starts where that is so.
fn disk_line(disk: &DiskReport) -> String {
    let DiskReport { total_bytes, free_bytes, min_free_bytes, shortage, .. } = disk;
    let [total, free, kept] =
        [total_bytes, free_bytes, min_free_bytes].map(|it| measure::size(*it));
    match shortage {
        Some(shortage) => format!("{free} of {total} free; NO RUN STARTS: {shortage}"),
        None => format!("{free} of {total} free, {kept} are kept free"),
    }
}

/// Returns what is taken, and its limit.
fn within(used: u64, most: Option<u64>) -> String {
    let used = measure::size(used);
    match most {
        Some(most) => format!("{used}, limit {}", measure::size(most)),
        None => used,
    }
}

fn on_average(name: &'static str, times: &Histogram) -> Option<(&'static str, String)> {
    let mean = measure::duration(times.mean()?);
    Some((name, format!("{mean} on average, {}", measure::count(times.count, "run"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_says_what_it_did() {
        let status = serde_json::json!({
            "schemaVersion": 1, "version": "0.1.0", "pid": 7, "uid": 0, "home": "/state",
            "store": "/state/store", "storeId": "1:2", "startedTimeUtc": "2026-11-21T12:00:00Z",
            "runs": {"queued": 3, "running": 1}, "concurrency": 4,
            "listening": {"url": "https://[::]:8443", "certificate": "/etc/trainyard/c.pem",
                "certificateExpiresTimeUtc": "2027-02-01T00:00:00Z"},
            "draining": {"sinceTimeUtc": "2026-11-21T13:00:00Z", "askedByUid": 1000}
        });
        let times = |count: u64, seconds: f64| serde_json::json!({"count": count, "seconds": seconds, "buckets": []});
        let mut statistics = serde_json::json!({
            "schemaVersion": 1, "runs": {}, "storeBytes": 5_000_000, "environmentBytes": 0,
            "disk": {"totalBytes": 100_000_000_000_u64, "freeBytes": 20_000_000_000_u64,
                "minFreeBytes": 2_000_000_000, "maxObjectBytes": 9_000_000,
                "runBytes": 7_000_000, "maxRunBytes": 8_000_000, "logBytes": 1_000},
            "ended": {"completed": 10, "script_failed": 2}, "recovered": 2,
            "queueWait": times(12, 60.0), "preparation": times(12, 3.0),
            "environmentsReused": 11, "environmentsBuilt": 1, "environmentsFailed": 0,
            "snapshotBytes": 0, "snapshotBytesReceived": 0
        });
        let usage = UserUsage {
            schema_version: 1,
            uid: 1000,
            user: Some("ana".to_owned()),
            rules: false,
            runs: 3,
            max_runs: Some(10),
            bytes: 1_500_000,
            max_bytes: None,
        };
        let told = |statistics: &serde_json::Value| {
            let status = serde_json::from_value(status.clone()).unwrap();
            let statistics = serde_json::from_value(statistics.clone()).unwrap();
            text(&status, &statistics, &usage, measure::rfc3339)
        };
        insta::assert_snapshot!(told(&statistics), @"
        Version      0.1.0
        Process      7
        State        /state
        Started      2026-11-21T12:00:00Z
        Running      1 of 4
        Queued       3
        Listening    https://[::]:8443, certificate /etc/trainyard/c.pem until 2027-02-01T00:00:00Z
        Draining     since 2026-11-21T13:00:00Z, asked by uid 1000
        Disk         20.0 GB of 100.0 GB free, 2.0 GB are kept free
        Store        5.0 MB, limit 9.0 MB
        Environments 0 B; 11 of 12 reused
        Past runs    7.0 MB, limit 8.0 MB
        Logs         1.0 kB
        Ended        10 completed, 2 script_failed
        Waited       5.0s on average, 12 runs
        Prepared     250ms on average, 12 runs
        Recovered    2 runs
        You          3 runs of 10 not over, 1.5 MB
        ");

        for (name, nothing) in [
            ("ended", serde_json::json!({})),
            ("recovered", 0.into()),
            ("queueWait", times(0, 0.0)),
            ("preparation", times(0, 0.0)),
            ("environmentsReused", 0.into()),
            ("environmentsBuilt", 0.into()),
        ] {
            statistics[name] = nothing;
        }
        let told = told(&statistics);
        assert!(told.contains("Environments 0 B\nPast runs "), "{told}");
        assert!(told.contains("Logs         1.0 kB\nYou "), "{told}");
    }
}
