//! The text format of Prometheus, version 0.0.4.

use std::fmt::Write;

use super::{Histogram, StatisticsReport};
use crate::disk::governor::DiskReport;

/// What the text is said to be.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What of an agent is not counted.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Its version.
    pub(crate) version: String,
    /// When it started, in seconds since 1970.
    pub(crate) started: i64,
    /// Whether it drains.
    pub(crate) draining: bool,
    /// How many runs may be on at once.
    pub(crate) places: usize,
}

/// Returns all metrics. Names, units and types are part of what users rely on.
pub(crate) fn text(facts: &Facts, report: &StatisticsReport) -> String {
    let mut page = Page(String::new());
    let counts = &report.counts;
    page.family("trainyard_info", "gauge", "The version of the agent.");
    page.line("trainyard_info", &[("version", &facts.version)], 1);
    page.one("trainyard_start_time_seconds", "gauge", "When the agent started.", facts.started);
    let help = "Whether the agent starts none of the runs that wait.";
    page.one("trainyard_draining", "gauge", help, u8::from(facts.draining));
    let help = "Runs that may be on at once on this machine.";
    page.one("trainyard_places", "gauge", help, facts.places);
    page.family("trainyard_runs", "gauge", "Runs in the records, by status.");
    for (status, count) in &report.runs {
        page.line("trainyard_runs", &[("status", status)], count);
    }
    page.family("trainyard_runs_ended_total", "counter", "Runs that ended, by reason.");
    for (reason, count) in &counts.ended {
        page.line("trainyard_runs_ended_total", &[("reason", reason)], count);
    }
    let help = "Further attempts of runs, by the reason of the end before.";
    page.family("trainyard_retries_total", "counter", help);
    for (reason, count) in &counts.tried_again {
        page.line("trainyard_retries_total", &[("reason", reason)], count);
    }
    let help = "Runs that were not over when the agent started, and were taken up.";
    page.one("trainyard_runs_recovered_total", "counter", help, counts.recovered);
    let help = "How long runs waited until they had a place.";
    page.histogram("trainyard_queue_wait_seconds", help, &counts.queue_wait);
    let help = "How long source and environment of runs took to be ready.";
    page.histogram("trainyard_preparation_seconds", help, &counts.preparation);
    let help = "Environments that runs asked for: hit, there already; miss, built; failed.";
    page.family("trainyard_environment_requests_total", "counter", help);
    for (result, count) in [
        ("hit", counts.environments_reused),
        ("miss", counts.environments_built),
        ("failed", counts.environments_failed),
    ] {
        page.line("trainyard_environment_requests_total", &[("result", result)], count);
    }
    let help = "Bytes of the snapshots that were sent over the socket.";
    page.one("trainyard_snapshot_bytes_total", "counter", help, counts.snapshot_bytes);
    let help = "Bytes of them that the agent lacked, so that they travelled.";
    let received = counts.snapshot_bytes_received;
    page.one("trainyard_snapshot_received_bytes_total", "counter", help, received);
    let help = "What the object store takes on the disk.";
    page.one("trainyard_store_bytes", "gauge", help, report.store_bytes);
    let help = "What the environments take on the disk.";
    page.one("trainyard_environment_bytes", "gauge", help, report.environment_bytes);
    page.disk(&report.disk);
    page.0
}

/// A page of metrics.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.line(name, &[], value);
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        // No value of ours holds a quote, a backslash or a newline.
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.push(format_args!("{name}{labels} {value}\n"));
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for counted in &histogram.buckets {
            self.line(&bucket, &[("le", &counted.at_most.to_string())], counted.count);
        }
        self.line(&bucket, &[("le", "+Inf")], histogram.count);
        self.line(&format!("{name}_sum"), &[], histogram.seconds);
        self.line(&format!("{name}_count"), &[], histogram.count);
    }

    fn disk(&mut self, disk: &DiskReport) {
        let help = "Bytes of the file system of the state directory.";
        self.one("trainyard_disk_bytes", "gauge", help, disk.total_bytes);
        let help = "Bytes of it that are free.";
        self.one("trainyard_disk_free_bytes", "gauge", help, disk.free_bytes);
        let help = "Bytes of it that are to stay free.";
        self.one("trainyard_disk_min_free_bytes", "gauge", help, disk.min_free_bytes);
        let help = "What runs that are over take on the disk, as counted when they ended.";
        self.one("trainyard_run_bytes", "gauge", help, disk.run_bytes);
        let help = "What of that their scripts printed.";
        self.one("trainyard_log_bytes", "gauge", help, disk.log_bytes);
        let help = "What may be taken on the disk, where there is a limit.";
        self.family("trainyard_disk_limit_bytes", "gauge", help);
        for (kind, most) in [
            ("objects", disk.max_object_bytes),
            ("environments", disk.max_environment_bytes),
            ("runs", disk.max_run_bytes),
            ("logs", disk.max_log_bytes),
        ] {
            most.iter().for_each(|most| {
                self.line("trainyard_disk_limit_bytes", &[("kind", kind)], most);
            });
        }
        let help = "Whether no run starts for want of disk space.";
        self.one("trainyard_disk_short", "gauge", help, u8::from(disk.shortage.is_some()));
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a string takes every text");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use runner::exit_record::ExitReason;

    use super::super::{Counts, Statistics};
    use super::*;
    use crate::disk::shortage::Shortage;

    #[test]
    fn the_page_is_as_prometheus_reads_it() {
        let statistics = Statistics::default();
        for reason in [ExitReason::Completed, ExitReason::ScriptFailed, ExitReason::Completed] {
            statistics.ended(reason);
        }
        statistics.tried_again(ExitReason::LostContact);
        statistics.recovered(2);
        for milliseconds in [50, 100, 7_000, 200_000_000] {
            let accepted = Timestamp::UNIX_EPOCH;
            statistics.waited(accepted, accepted + Duration::from_millis(milliseconds));
        }
        statistics.prepared(Duration::from_millis(250), true);
        statistics.prepared(Duration::from_secs(20), false);
        statistics.environment_failed();
        statistics.snapshot(1000);
        statistics.received(100);
        let counts: Counts = statistics.counts().clone();
        assert_eq!(counts.preparation.mean(), Some(Duration::from_millis(10_125)));
        assert_eq!(Histogram::default().mean(), None);
        let runs = [("Queued".to_owned(), 1), ("Running".to_owned(), 3)].into();
        let report = StatisticsReport {
            schema_version: 1,
            runs,
            counts,
            store_bytes: 4096,
            environment_bytes: 8192,
            disk: DiskReport {
                total_bytes: 1 << 30,
                free_bytes: 1 << 20,
                min_free_bytes: 2 << 20,
                max_object_bytes: Some(5000),
                max_environment_bytes: None,
                run_bytes: 4096,
                max_run_bytes: Some(8192),
                log_bytes: 512,
                max_log_bytes: None,
                shortage: Some(Shortage::Free { free_bytes: 1 << 20, kept_bytes: 2 << 20 }),
            },
        };
        let version = "0.1.0".to_owned();
        let facts = Facts { version, started: 1_795_000_000, draining: true, places: 4 };

        insta::assert_snapshot!("metrics", text(&facts, &report));
    }
}
