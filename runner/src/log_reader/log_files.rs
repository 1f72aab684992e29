//! The two files of a log, read together: which bytes there are and which stream they came from.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use snapshots::path_error::{IoContext as _, PathError};

use crate::log_index::{HEADER, RECORD_BYTES, Record, Stream};
use crate::run_directory::RunDirectory;

/// Pieces of one stream that follow each other this closely are returned as one.
const TOGETHER_NS: u64 = 10_000_000;
/// How many records are read at once.
pub(super) const RECORDS_AT_ONCE: u64 = 4096;

/// The files of a run's log, open once they are there.
#[derive(Debug)]
pub(super) struct LogFiles {
    run: RunDirectory,
    files: Option<Files>,
}

#[derive(Debug)]
struct Files {
    data: File,
    index: File,
}

/// What can be read at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// How many records of the index are good.
    pub(super) records: u64,
    /// Where the log ends.
    pub(super) end: u64,
}

/// A part of the log that came from one stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) stream: Stream,
    pub(super) time_ns: u64,
}

impl LogFiles {
    /// Opens what is there.
    pub(super) fn open(run: &RunDirectory) -> Result<Self, PathError> {
        let mut log = Self { run: run.clone(), files: None };
        log.open_files()?;
        Ok(log)
    }

    /// Opens the files once they are there; the index is made after the data.
    fn open_files(&mut self) -> Result<(), PathError> {
        if self.files.is_none() {
            let index = open(&self.run.std_log_index())?;
            let data = open(&self.run.std_log())?;
            if let (Some(data), Some(index)) = (data, index) {
                self.files = Some(Files { data, index });
            }
        }
        Ok(())
    }

    /// Looks at how much there is. A run that has ended gets no more records: what has none, as
    /// after a supervisor was killed, belongs to the log all the same.
    pub(super) fn extent(&mut self) -> Result<Extent, PathError> {
        // Before the sizes: what was written before the end is then all seen.
        let has_ended = self.run.exit_json().exists();
        self.open_files()?;
        let Some(files) = &self.files else { return Ok(Extent { records: 0, end: 0 }) };
        let index = length(&files.index).context("read", self.run.std_log_index())?;
        let mut records = index.saturating_sub(HEADER.len() as u64) / RECORD_BYTES as u64;
        let mut indexed = 0;
        while records > 0 {
            if let Some(last) = self.record(records - 1)? {
                indexed = last.end;
                break;
            }
            records -= 1;
        }
        let data = length(&files.data).context("read", self.run.std_log())?;
        let end = if has_ended { data } else { indexed.min(data) };
        Ok(Extent { records, end })
    }

    /// Returns the number of the first record that ends after `offset`.
    pub(super) fn first_record_after(&self, offset: u64, extent: Extent) -> Result<u64, PathError> {
        let (mut low, mut high) = (0, extent.records);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.record(middle)? {
                Some(record) if record.end <= offset => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// Returns what the records from `first` on say, beginning at `begin`, and after the last
    /// record what is in the log without one.
    pub(super) fn spans(
        &self,
        first: u64,
        begin: u64,
        extent: Extent,
    ) -> Result<Vec<Span>, PathError> {
        let last = (first + RECORDS_AT_ONCE).min(extent.records);
        let mut spans = Vec::new();
        let mut begin = begin;
        let mut push = |end: u64, stream, time_ns| {
            let end = end.min(extent.end);
            if end > begin {
                spans.push(Span { begin, end, stream, time_ns });
                begin = end;
            }
        };
        if first < last {
            let count = usize::try_from(last - first).unwrap_or(0);
            let bytes = self.index_bytes(first, count)?;
            for record in bytes.as_chunks::<RECORD_BYTES>().0 {
                if let Some(record) = Record::decode(record) {
                    push(record.end, record.stream, record.time_ns);
                }
            }
        }
        if first + RECORDS_AT_ONCE > extent.records {
            push(extent.end, Stream::Stdout, 0);
        }
        Ok(spans)
    }

    pub(super) fn end_before(&self, record: u64) -> Result<u64, PathError> {
        let before = record.checked_sub(1).map(|at| self.record(at)).transpose()?.flatten();
        Ok(before.map_or(0, |record| record.end))
    }

    fn record(&self, at: u64) -> Result<Option<Record>, PathError> {
        let bytes = self.index_bytes(at, 1)?;
        Ok(bytes.as_chunks().0.first().and_then(Record::decode))
    }

    fn index_bytes(&self, first: u64, count: usize) -> Result<Vec<u8>, PathError> {
        let mut bytes = vec![0; count * RECORD_BYTES];
        if let Some(files) = &self.files {
            let at = HEADER.len() as u64 + first * RECORD_BYTES as u64;
            files.index.read_exact_at(&mut bytes, at).context("read", self.run.std_log_index())?;
        }
        Ok(bytes)
    }

    /// Reads the bytes from `begin` to `end`, which are there.
    pub(super) fn bytes(&self, begin: u64, end: u64) -> Result<Vec<u8>, PathError> {
        let mut bytes = vec![0; usize::try_from(end - begin).unwrap_or(usize::MAX)];
        if let Some(files) = &self.files {
            files.data.read_exact_at(&mut bytes, begin).context("read", self.run.std_log())?;
        }
        Ok(bytes)
    }
}

impl Span {
    pub(super) fn continues_with(&self, next: &Self) -> bool {
        next.stream == self.stream
            && next.begin == self.end
            && next.time_ns.saturating_sub(self.time_ns) < TOGETHER_NS
    }
}

fn open(path: &Path) -> Result<Option<File>, PathError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("open", path),
    }
}

fn length(file: &File) -> io::Result<u64> {
    file.metadata().map(|data: fs::Metadata| data.len())
}
