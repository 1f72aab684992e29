//! Metrics, and how far each place they come from has been read.

use jiff::Timestamp;
use runner::run_id::RunId;
use rusqlite::{OptionalExtension, Transaction, params};

use super::{SqlContext, Store, StoreError};

/// A run keeps so many values; what comes after is counted, not kept.
pub(crate) const MOST_PER_RUN: i64 = 1_000_000;

/// One value to keep.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MetricRow {
    /// What was measured.
    pub(crate) name: String,
    /// At which step.
    pub(crate) step: Option<i64>,
    /// The value; `None` where it is not a finite number.
    pub(crate) value: Option<f64>,
    /// When it was reported.
    pub(crate) reported: Timestamp,
}

impl Store {
    /// Returns how far `source` of `run` has been read.
    pub(crate) async fn metrics_offset(
        &self,
        run: &RunId,
        source: &'static str,
    ) -> Result<u64, StoreError> {
        let run = run.clone();
        self.readers
            .read(move |connection| {
                let offset: Option<i64> = connection
                    .prepare_cached(
                        "select offset from metric_sources
                         join runs on runs.number = metric_sources.run
                         where id = ?1 and source = ?2",
                    )
                    .and_then(|mut statement| {
                        statement
                            .query_row(params![run.as_str(), source], |row| row.get(0))
                            .optional()
                    })
                    .doing("read how far metrics were read")?;
                Ok(offset.and_then(|offset| u64::try_from(offset).ok()).unwrap_or(0))
            })
            .await
    }

    /// Adds `metrics` of `run` and records that `source` was read from `from` up to `to`, at once:
    /// if `source` stands elsewhere than at `from`, nothing is added. Returns how many were kept.
    pub(crate) async fn add_metrics(
        &self,
        run: &RunId,
        source: &'static str,
        (from, to): (u64, u64),
        metrics: Vec<MetricRow>,
    ) -> Result<usize, StoreError> {
        let run = run.clone();
        self.writer
            .write(move |transaction| add(transaction, &run, source, (from, to), &metrics))
            .await
    }
}

fn add(
    transaction: &Transaction,
    run: &RunId,
    source: &str,
    (from, to): (u64, u64),
    metrics: &[MetricRow],
) -> Result<usize, StoreError> {
    let action = "write metrics";
    let number: i64 = transaction
        .query_row("select number from runs where id = ?1", [run.as_str()], |row| row.get(0))
        .optional()
        .doing(action)?
        .ok_or_else(|| StoreError::NoSuchRun { reference: run.to_string() })?;
    let offset = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
    let moved = transaction
        .execute(
            "insert into metric_sources (run, source, offset) select ?1, ?2, ?4 where ?3 = 0
             on conflict do nothing",
            params![number, source, offset(from), offset(to)],
        )
        .doing(action)?
        + transaction
            .execute(
                "update metric_sources set offset = ?4
                 where run = ?1 and source = ?2 and offset = ?3 and ?3 > 0",
                params![number, source, offset(from), offset(to)],
            )
            .doing(action)?;
    if moved == 0 {
        return Ok(0);
    }
    let last: i64 = transaction
        .query_row("select coalesce(max(number), 0) from metrics where run = ?1", [number], |row| {
            row.get(0)
        })
        .doing(action)?;
    let mut insert = transaction
        .prepare_cached(
            "insert into metrics (run, number, name, step, value, reported_at)
             values (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .doing(action)?;
    let mut kept = 0;
    for (next, metric) in (last + 1..=MOST_PER_RUN).zip(metrics) {
        let reported = metric.reported.as_microsecond();
        insert
            .execute(params![number, next, metric.name, metric.step, metric.value, reported])
            .doing(action)?;
        kept += 1;
    }
    Ok(kept)
}
