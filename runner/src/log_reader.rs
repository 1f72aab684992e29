//! Reads a run's log by offset, by stream, while it is written.

use snapshots::path_error::PathError;

use crate::log_index::Stream;
use crate::run_directory::RunDirectory;

/// Which streams to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StreamFilter {
    /// Both, as the user would see them.
    #[default]
    All,
    /// Standard output only.
    Stdout,
    /// Standard error only.
    Stderr,
}

/// A piece of the log that came from one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where `bytes` begins in `std_log.txt`.
    pub offset: u64,
    /// The offset to go on reading at.
    pub next_offset: u64,
    /// Which stream it came from.
    pub stream: Stream,
    /// When the first byte was read from the script, in nanoseconds since 1970.
    pub time_ns: u64,
    /// What the script wrote, byte for byte, secrets masked.
    pub bytes: Vec<u8>,
}

/// A run's log, open for reading. Offsets are byte offsets in `std_log.txt`, always.
#[derive(Debug)]
pub struct LogReader {
    run: RunDirectory,
}

impl LogReader {
    /// Opens the log of `run`. A log that does not exist yet is an empty one.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read.
    pub fn open(run: &RunDirectory) -> Result<Self, PathError> {
        Ok(Self { run: run.clone() })
    }

    /// Returns how many bytes can be read now.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn len(&mut self) -> Result<u64, PathError> {
        todo!("{:?}", self.run)
    }

    /// Reads up to `max` bytes from `offset` on, of the streams that `filter` lets through.
    ///
    /// The pieces are in order. What the filter holds back is jumped over: go on reading at the
    /// second value. When that is no larger than `offset` there is nothing more yet.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn read(
        &mut self,
        offset: u64,
        max: usize,
        filter: StreamFilter,
    ) -> Result<(Vec<Segment>, u64), PathError> {
        todo!("{offset} {max} {filter:?}")
    }

    /// Returns the offset at which the last `lines` lines of what `filter` lets through begin.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn tail(&mut self, lines: u64, filter: StreamFilter) -> Result<u64, PathError> {
        todo!("{lines} {filter:?}")
    }
}
