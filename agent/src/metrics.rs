//! Picks up the metrics a script writes or prints, while it runs.
//!
//! Two places are read: `logs/metrics.jsonl`, and the lines on stdout that are metrics and
//! nothing else. How far each was read is kept in the same transaction that keeps what was found,
//! so that a metric counts once whatever happens to the agent.

mod lines;

use std::sync::Arc;

use jiff::Timestamp;
use runner::log_reader::{LogReader, StreamFilter};
use runner::metrics_line::{self, MAX_LINE_BYTES};
use runner::plain_file::open_beneath;
use runner::run_directory::RunDirectory;
use runner::run_id::RunId;
use tracing::warn;

use crate::agent::Agent;
use crate::store::{MetricRow, StoreError};
use crate::task;

use lines::Lines;

/// How much is read at a time. Each of the threads that read keeps what it once needed.
const PIECE: usize = 128 << 10;

/// How much is read without a metric in it before the records are told.
const UNTOLD: u64 = 64 << 20;

/// Reads the metrics of one run.
pub(crate) struct Collector {
    agent: Arc<Agent>,
    run: RunId,
    sources: [Source; 2],
    dropped: usize,
}

/// A place that metrics come from.
#[derive(Debug)]
struct Source {
    name: &'static str,
    directory: RunDirectory,
    /// What the records know.
    told: u64,
    lines: Lines,
}

impl Collector {
    /// Starts, or goes on where the records say.
    pub(crate) async fn resume(
        agent: &Arc<Agent>,
        run: &RunId,
        directory: &RunDirectory,
    ) -> Result<Self, StoreError> {
        let source = |name, told| Source {
            name,
            directory: directory.clone(),
            told,
            lines: Lines::from(told, MAX_LINE_BYTES),
        };
        let told = |name| agent.store.metrics_offset(run, name);
        Ok(Self {
            agent: Arc::clone(agent),
            run: run.clone(),
            sources: [source("file", told("file").await?), source("stdout", told("stdout").await?)],
            dropped: 0,
        })
    }

    /// Picks up what came since the last time.
    pub(crate) async fn advance(&mut self) {
        self.read(false).await;
    }

    /// Picks up the rest. A last line without its end counts.
    pub(crate) async fn drain(&mut self) {
        self.read(true).await;
    }

    /// Says what the user should know of metrics that were not kept.
    pub(crate) fn note(&self) -> Option<String> {
        let most = crate::store::MOST_METRICS;
        (self.dropped > 0).then(|| {
            format!("{} metric values were not kept: a run keeps {most} at most", self.dropped)
        })
    }

    async fn read(&mut self, last: bool) {
        for index in 0..self.sources.len() {
            while let Some(more) = self.piece(index, last).await {
                if !more {
                    break;
                }
            }
        }
    }

    /// Reads one piece. Says whether there may be more; `None` when it could not be read.
    async fn piece(&mut self, index: usize, last: bool) -> Option<bool> {
        let source = &mut self.sources[index];
        let mut lines = source.lines.clone();
        let directory = source.directory.clone();
        let name = source.name;
        let read = task::blocking(move || {
            let mut found = Vec::new();
            let now = Timestamp::now();
            let mut each =
                |line: &[u8]| found.extend(metrics_line::parse(line).map(|m| row(m, now)));
            let more = match name {
                "file" => from_file(&directory, &mut lines, &mut each)?,
                _ => from_stdout(&directory, &mut lines, &mut each)?,
            };
            if last && !more {
                lines.finish(&mut each);
            }
            Ok::<_, std::io::Error>((lines, found, more))
        });
        let (lines, found, more) = match read.await {
            Ok(read) => read,
            Err(error) => {
                warn!(%error, source = name, "Could not read metrics.");
                return None;
            }
        };
        let to = lines.resume_at();
        let from = source.told;
        source.lines = lines;
        if !found.is_empty() || to - from >= UNTOLD || (last && !more && to > from) {
            let count = found.len();
            match self.agent.store.add_metrics(&self.run, name, (from, to), found).await {
                Ok(kept) => self.dropped += count - kept,
                Err(error) => {
                    warn!(%error, "Could not keep metrics; reading them again.");
                    self.sources[index].lines = Lines::from(from, MAX_LINE_BYTES);
                    return None;
                }
            }
            self.sources[index].told = to;
        }
        Some(more)
    }
}

fn row(metric: metrics_line::Metric, now: Timestamp) -> MetricRow {
    MetricRow {
        name: metric.name,
        step: metric.step,
        value: metric.value.is_finite().then_some(metric.value),
        reported: metric.time.unwrap_or(now),
    }
}

fn from_file(
    directory: &RunDirectory,
    lines: &mut Lines,
    each: &mut dyn FnMut(&[u8]),
) -> std::io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let Some(file) = open_beneath(&directory.work(), b"logs/metrics.jsonl")? else {
        return Ok(false);
    };
    let mut bytes = vec![0; PIECE];
    let at = lines.next_offset();
    let read = file.read_at(&mut bytes, at)?;
    lines.add(at, &bytes[..read], each);
    lines.reach(at + read as u64);
    Ok(read == PIECE)
}

fn from_stdout(
    directory: &RunDirectory,
    lines: &mut Lines,
    each: &mut dyn FnMut(&[u8]),
) -> std::io::Result<bool> {
    let mut reader = LogReader::open(directory).map_err(std::io::Error::other)?;
    let at = lines.next_offset();
    let (segments, next) =
        reader.read(at, PIECE, StreamFilter::Stdout).map_err(std::io::Error::other)?;
    for segment in &segments {
        lines.add(segment.offset, &segment.bytes, each);
    }
    lines.reach(next);
    Ok(next > at)
}
