//! What a run in the queue waits for, in words.

use jiff::Timestamp;

use crate::api::wire::run::RunSummary;
use crate::api::wire::waiting::{GpuInUse, WaitsFor};
use crate::terminal::measure;

/// Returns what follows "it waits".
pub(super) fn sentence(waits_for: &WaitsFor, run: &RunSummary, now: Timestamp) -> String {
    let there = match run.target.as_str() {
        crate::targets::LOCAL => String::new(),
        target => format!(" on {target}"),
    };
    match waits_for {
        WaitsFor::Release => "until somebody releases it with `trainyard queue release`".to_owned(),
        WaitsFor::Runs { run_ids } => format!("for the end of {}", run_ids.join(", ")),
        WaitsFor::Time { time_utc } => match next_attempt(*time_utc, run, now) {
            Some(attempt) => format!("for {attempt}"),
            None => format!("until {}", measure::rfc3339(*time_utc)),
        },
        WaitsFor::Places { most } => {
            let most = measure::count(*most as u64, "run");
            format!("for a place{there}: at most {most} at once, and as many are on")
        }
        WaitsFor::Cpus { wanted, free } => {
            format!("for processors{there}: it takes {wanted}, and {free} are free")
        }
        WaitsFor::Memory { wanted_bytes, free_bytes } => format!(
            "for memory{there}: it takes {}, and {} are free",
            measure::size(*wanted_bytes),
            measure::size(*free_bytes)
        ),
        WaitsFor::Gpus { wanted, free, in_use } => {
            let others = in_use.iter().map(|GpuInUse { gpu, pids }| {
                let pids: Vec<_> = pids.iter().map(u32::to_string).collect();
                format!("; {gpu} is in use by others (pid {})", pids.join(", "))
            });
            let others: String = others.collect();
            format!("for GPUs{there}: it takes {wanted}, and {free} are free{others}")
        }
        WaitsFor::Disk { shortage } => {
            let command = shortage.shown_by();
            format!("for disk space: {shortage}; `{command}` shows what can be freed")
        }
        WaitsFor::Turn { run_id } => {
            let run = run_id.as_deref().unwrap_or("a run of another user");
            format!("for its turn{there}: what is free is kept for {run}, which has waited long")
        }
    }
}

/// Returns `attempt 2 of 4 in 18s, after lost contact`, where it is one that begins at `time`.
fn next_attempt(time: Timestamp, run: &RunSummary, now: Timestamp) -> Option<String> {
    let wait = measure::duration(measure::between(now, time));
    Some(format!("{} in {wait}, after {}", attempt(run)?, after(run)?))
}

/// Returns `attempt 2 of 4` of a run that may be tried again.
pub(super) fn attempt(run: &RunSummary) -> Option<String> {
    run.attempt.as_ref().map(|attempt| format!("attempt {} of {}", attempt.number, attempt.of))
}

/// Returns what ended the attempt before, in words.
pub(super) fn after(run: &RunSummary) -> Option<String> {
    Some(run.attempt.as_ref()?.after.as_ref()?.replace('_', " "))
}

/// Returns the same in a word, or a few where it is another attempt.
pub(super) fn word(waits_for: &WaitsFor, run: &RunSummary, now: Timestamp) -> String {
    if let WaitsFor::Time { time_utc } = waits_for
        && let Some(attempt) = next_attempt(*time_utc, run, now)
    {
        return attempt;
    }
    let word = match waits_for {
        WaitsFor::Release => "held",
        WaitsFor::Runs { .. } => "after others",
        WaitsFor::Time { .. } => "later",
        WaitsFor::Places { .. } => "places",
        WaitsFor::Cpus { .. } => "processors",
        WaitsFor::Memory { .. } => "memory",
        WaitsFor::Gpus { .. } => "GPUs",
        WaitsFor::Disk { .. } => "disk space",
        WaitsFor::Turn { .. } => "its turn",
    };
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::run::RunAttempt;
    use crate::cli::tests::run_document;
    use crate::disk::shortage::Shortage;

    #[test]
    fn everything_a_run_can_wait_for_has_a_sentence() {
        let run: RunSummary = serde_json::from_value(run_document()).unwrap();
        let elsewhere = RunSummary { target: "gpu-vm".to_owned(), ..run.clone() };
        let all = [
            WaitsFor::Release,
            WaitsFor::Runs { run_ids: vec!["a_1_00000001".to_owned(), "a_1_00000002".to_owned()] },
            WaitsFor::Time { time_utc: "2026-11-21T12:00:00Z".parse().unwrap() },
            WaitsFor::Places { most: 1 },
            WaitsFor::Cpus { wanted: 1.5, free: 0.25 },
            WaitsFor::Memory { wanted_bytes: 4 << 30, free_bytes: 1 << 30 },
            WaitsFor::Gpus { wanted: 2, free: 1, in_use: Vec::new() },
            WaitsFor::Gpus {
                wanted: 1,
                free: 0,
                in_use: vec![GpuInUse { gpu: "GPU-1".to_owned(), pids: vec![4711, 4712] }],
            },
            WaitsFor::Disk {
                shortage: Shortage::Free { free_bytes: 1 << 30, kept_bytes: 2 << 30 },
            },
            WaitsFor::Turn { run_id: Some("a_1_00000001".to_owned()) },
            WaitsFor::Turn { run_id: None },
        ];
        let now: Timestamp = "2026-11-21T11:59:42Z".parse().unwrap();
        let said = |it| format!("{}: it waits {}", word(it, &run, now), sentence(it, &run, now));
        let lines = all.iter().map(said);
        insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @"
        held: it waits until somebody releases it with `trainyard queue release`
        after others: it waits for the end of a_1_00000001, a_1_00000002
        later: it waits until 2026-11-21T12:00:00Z
        places: it waits for a place: at most 1 run at once, and as many are on
        processors: it waits for processors: it takes 1.5, and 0.25 are free
        memory: it waits for memory: it takes 4.3 GB, and 1.1 GB are free
        GPUs: it waits for GPUs: it takes 2, and 1 are free
        GPUs: it waits for GPUs: it takes 1, and 0 are free; GPU-1 is in use by others (pid 4711, 4712)
        disk space: it waits for disk space: 1.1 GB free where 2.1 GB are kept free; `trainyard gc --dry-run` shows what can be freed
        its turn: it waits for its turn: what is free is kept for a_1_00000001, which has waited long
        its turn: it waits for its turn: what is free is kept for a run of another user, which has waited long
        ");
        insta::assert_snapshot!(sentence(&WaitsFor::Places { most: 4 }, &elsewhere, now), @"for a place on gpu-vm: at most 4 runs at once, and as many are on");
        let attempt = RunAttempt { number: 2, of: 4, after: Some("lost_contact".to_owned()) };
        let again = RunSummary { attempt: Some(attempt), ..run };
        let time = WaitsFor::Time { time_utc: "2026-11-21T12:00:00Z".parse().unwrap() };
        insta::assert_snapshot!(sentence(&time, &again, now), @"for attempt 2 of 4 in 18.0s, after lost contact");
        assert_eq!(word(&time, &again, now), "attempt 2 of 4 in 18.0s, after lost contact");
    }
}
