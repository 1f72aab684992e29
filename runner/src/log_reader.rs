//! Reads a run's log by offset, by stream, while it is written.

use memchr::memrchr_iter;
use snapshots::path_error::PathError;

use crate::log_index::Stream;
use crate::log_reader::log_files::{Extent, LogFiles, RECORDS_AT_ONCE, Span};
use crate::run_directory::RunDirectory;

mod log_files;

/// How many bytes are searched for line ends at once.
const BLOCK_BYTES: u64 = 64 * 1024;

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
    log: LogFiles,
}

impl StreamFilter {
    fn lets_through(self, stream: Stream) -> bool {
        match self {
            Self::All => true,
            Self::Stdout => stream == Stream::Stdout,
            Self::Stderr => stream == Stream::Stderr,
        }
    }
}

impl LogReader {
    /// Opens the log of `run`. A log that does not exist yet is an empty one.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be read.
    pub fn open(run: &RunDirectory) -> Result<Self, PathError> {
        Ok(Self { log: LogFiles::open(run)? })
    }

    /// Returns how many bytes can be read now.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn len(&mut self) -> Result<u64, PathError> {
        Ok(self.log.extent()?.end)
    }

    /// Says whether nothing can be read yet.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn is_empty(&mut self) -> Result<bool, PathError> {
        Ok(self.len()? == 0)
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
        let extent = self.log.extent()?;
        let mut segments = Vec::new();
        let mut next = offset;
        let mut left = max as u64;
        let mut at = self.log.first_record_after(offset, extent)?;
        let mut joined: Option<Span> = None;
        while left > 0 && next < extent.end {
            let spans = self.log.spans(at, next, extent)?;
            at += RECORDS_AT_ONCE;
            for mut span in spans {
                if left == 0 {
                    break;
                }
                if filter.lets_through(span.stream) {
                    span.end = span.end.min(span.begin.saturating_add(left));
                    left -= span.end - span.begin;
                    joined = match joined {
                        Some(before) if before.continues_with(&span) => {
                            Some(Span { end: span.end, ..before })
                        }
                        before => {
                            self.load(before, &mut segments)?;
                            Some(span)
                        }
                    };
                }
                next = span.end;
            }
        }
        self.load(joined, &mut segments)?;
        Ok((segments, next))
    }

    /// Returns the offset at which the last `lines` lines of what `filter` lets through begin.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn tail(&mut self, lines: u64, filter: StreamFilter) -> Result<u64, PathError> {
        let extent = self.log.extent()?;
        if lines == 0 {
            return Ok(extent.end);
        }
        // The line end that ends the last line does not begin another.
        let mut found = None;
        let mut wanted = lines;
        let mut first = true;
        let mut next_block = extent.end;
        self.backwards(extent, filter, &mut |begin, bytes| {
            if first && bytes.last() == Some(&b'\n') {
                wanted += 1;
            }
            first = false;
            for at in memrchr_iter(b'\n', bytes) {
                wanted -= 1;
                if wanted == 0 {
                    // A line end that ends its block: the line begins where the next block does.
                    let is_last = at + 1 == bytes.len();
                    found = Some(if is_last { next_block } else { begin + at as u64 + 1 });
                    return true;
                }
            }
            next_block = begin;
            false
        })?;
        Ok(found.unwrap_or(0))
    }

    /// Hands blocks of what `filter` lets through to `look`, from the end to the beginning, until
    /// it says that it has seen enough.
    fn backwards(
        &self,
        extent: Extent,
        filter: StreamFilter,
        look: &mut dyn FnMut(u64, &[u8]) -> bool,
    ) -> Result<(), PathError> {
        if filter == StreamFilter::All {
            let whole = Span { begin: 0, end: extent.end, stream: Stream::Stdout, time_ns: 0 };
            self.blocks_backwards(whole, look)?;
            return Ok(());
        }
        let mut after = extent.records + 1;
        while after > 0 {
            let from = after.saturating_sub(RECORDS_AT_ONCE);
            let spans = self.log.spans(from, self.log.end_before(from)?, extent)?;
            let taken = usize::try_from(after - from).unwrap_or(usize::MAX);
            for span in spans.into_iter().take(taken).rev() {
                if filter.lets_through(span.stream) && self.blocks_backwards(span, look)? {
                    return Ok(());
                }
            }
            after = from;
        }
        Ok(())
    }

    fn blocks_backwards(
        &self,
        span: Span,
        look: &mut dyn FnMut(u64, &[u8]) -> bool,
    ) -> Result<bool, PathError> {
        let mut end = span.end;
        while end > span.begin {
            let begin = end.saturating_sub(BLOCK_BYTES).max(span.begin);
            if look(begin, &self.log.bytes(begin, end)?) {
                return Ok(true);
            }
            end = begin;
        }
        Ok(false)
    }

    fn load(&self, span: Option<Span>, segments: &mut Vec<Segment>) -> Result<(), PathError> {
        if let Some(span) = span {
            segments.push(Segment {
                offset: span.begin,
                next_offset: span.end,
                stream: span.stream,
                time_ns: span.time_ns,
                bytes: self.log.bytes(span.begin, span.end)?,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use proptest::prelude::*;

    use super::*;
    use crate::log_index::{HEADER, RECORD_BYTES, Record};

    /// Writes a log as a supervisor does: pieces with a stream and a time each.
    fn written(pieces: &[(Stream, u64, &[u8])]) -> (tempfile::TempDir, RunDirectory) {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(directory.path());
        fs::create_dir(directory.path().join("user_logs")).unwrap();
        let mut data = Vec::new();
        let mut index = HEADER.to_vec();
        for &(stream, time_ns, bytes) in pieces {
            data.extend_from_slice(bytes);
            index.extend(Record { end: data.len() as u64, time_ns, stream }.encode());
        }
        fs::write(run.std_log(), data).unwrap();
        fs::write(run.std_log_index(), index).unwrap();
        (directory, run)
    }

    fn text(segments: &[Segment]) -> String {
        segments.iter().map(|s| String::from_utf8_lossy(&s.bytes)).collect()
    }

    const MIXED: [(Stream, u64, &[u8]); 4] = [
        (Stream::Stdout, 0, b"one\ntwo\n"),
        (Stream::Stderr, 1, b"warning\n"),
        (Stream::Stdout, 2, b"thr"),
        (Stream::Stdout, 3, b"ee\n"),
    ];

    #[test]
    fn a_log_that_is_not_there_yet_is_empty_and_then_read() {
        let (directory, run) = written(&MIXED);
        let later = RunDirectory::new(directory.path().join("later"));
        let mut reader = LogReader::open(&later).unwrap();

        assert!(reader.is_empty().unwrap());
        assert_eq!(reader.read(0, 10, StreamFilter::All).unwrap(), (vec![], 0));
        assert_eq!(reader.tail(5, StreamFilter::All).unwrap(), 0);
        fs::create_dir(later.path()).unwrap();
        fs::rename(run.path().join("user_logs"), later.path().join("user_logs")).unwrap();
        assert_eq!(reader.len().unwrap(), 22);
    }

    #[test]
    fn pieces_have_their_offset_stream_and_time() {
        let (_directory, run) = written(&MIXED);

        let (segments, next) =
            LogReader::open(&run).unwrap().read(4, 1000, StreamFilter::All).unwrap();

        let seen: Vec<_> = segments
            .iter()
            .map(|s| (s.offset, s.next_offset, s.stream, s.time_ns, s.bytes.as_slice()))
            .collect();
        let expected = [
            (4, 8, Stream::Stdout, 0, b"two\n".as_slice()),
            (8, 16, Stream::Stderr, 1, b"warning\n"),
            (16, 22, Stream::Stdout, 2, b"three\n"),
        ];
        assert_eq!(seen, expected);
        assert_eq!(next, 22);
    }

    #[test]
    fn a_filter_jumps_over_the_other_stream() {
        let (_directory, run) = written(&MIXED);
        let mut reader = LogReader::open(&run).unwrap();

        let (out, next) = reader.read(0, 1000, StreamFilter::Stdout).unwrap();
        assert_eq!((text(&out).as_str(), next), ("one\ntwo\nthree\n", 22));
        let (err, next) = reader.read(0, 1000, StreamFilter::Stderr).unwrap();
        assert_eq!((text(&err).as_str(), next), ("warning\n", 22));
        assert_eq!(reader.read(22, 1000, StreamFilter::Stderr).unwrap(), (vec![], 22));
    }

    #[test]
    fn the_last_lines_are_found_by_stream() {
        let (_directory, run) = written(&MIXED);
        let mut reader = LogReader::open(&run).unwrap();

        for (lines, filter, offset) in [
            (0, StreamFilter::All, 22),
            (1, StreamFilter::All, 16),
            (2, StreamFilter::All, 8),
            (4, StreamFilter::All, 0),
            (9, StreamFilter::All, 0),
            (1, StreamFilter::Stdout, 16),
            (2, StreamFilter::Stdout, 4),
            (3, StreamFilter::Stdout, 0),
            (1, StreamFilter::Stderr, 0),
        ] {
            assert_eq!(reader.tail(lines, filter).unwrap(), offset, "{lines} {filter:?}");
        }
    }

    #[test]
    fn a_last_line_without_an_end_is_a_line() {
        let (_directory, run) = written(&[(Stream::Stdout, 0, b"one\ntwo")]);
        assert_eq!(LogReader::open(&run).unwrap().tail(1, StreamFilter::All).unwrap(), 4);
    }

    #[test]
    fn half_a_record_and_zeros_are_cut_off() {
        let (_directory, run) = written(&MIXED);
        let whole = fs::read(run.std_log_index()).unwrap();
        let torn = &whole[..whole.len() - 5];
        let zeros = [&whole[..whole.len() - RECORD_BYTES], &[0; 2 * RECORD_BYTES]].concat();
        for index in [torn, &zeros] {
            fs::write(run.std_log_index(), index).unwrap();
            let (segments, next) =
                LogReader::open(&run).unwrap().read(0, 1000, StreamFilter::All).unwrap();
            assert_eq!((text(&segments).as_str(), next), ("one\ntwo\nwarning\nthr", 19));
        }
    }

    #[test]
    fn records_without_data_are_cut_off() {
        let (_directory, run) = written(&MIXED);
        File::options().write(true).open(run.std_log()).unwrap().set_len(10).unwrap();
        let (segments, next) =
            LogReader::open(&run).unwrap().read(0, 1000, StreamFilter::All).unwrap();
        assert_eq!((text(&segments).as_str(), next), ("one\ntwo\nwa", 10));
    }

    #[test]
    fn data_without_a_record_is_shown_when_the_run_is_over() {
        let (_directory, run) = written(&MIXED);
        let mut log = fs::read(run.std_log()).unwrap();
        log.extend(b"lost?");
        fs::write(run.std_log(), log).unwrap();
        let mut reader = LogReader::open(&run).unwrap();

        assert_eq!(reader.len().unwrap(), 22);
        fs::write(run.exit_json(), b"{}").unwrap();
        let (segments, next) = reader.read(20, 1000, StreamFilter::All).unwrap();
        assert_eq!((text(&segments).as_str(), next), ("e\nlost?", 27));
        assert_eq!(reader.tail(1, StreamFilter::Stdout).unwrap(), 22);
    }

    proptest! {
        /// However a reader cuts its way through, it sees each byte of each stream once.
        #[test]
        fn nothing_is_missed_and_nothing_repeated(
            pieces in proptest::collection::vec((any::<bool>(), 0u64..40, "[a-c\n]{1,9}"), 0..60),
            max in 1usize..30,
        ) {
            let mut time = 0;
            let pieces: Vec<(Stream, u64, &[u8])> = pieces
                .iter()
                .map(|(err, later, text)| {
                    time += later * 1_000_000;
                    let stream = if *err { Stream::Stderr } else { Stream::Stdout };
                    (stream, time, text.as_bytes())
                })
                .collect();
            let (_directory, run) = written(&pieces);
            let mut reader = LogReader::open(&run).unwrap();
            for filter in [StreamFilter::All, StreamFilter::Stdout, StreamFilter::Stderr] {
                let expected: Vec<u8> = pieces
                    .iter()
                    .filter(|(stream, ..)| filter.lets_through(*stream))
                    .flat_map(|(_, _, bytes)| bytes.to_vec())
                    .collect();
                let mut seen = Vec::new();
                let mut offset = 0;
                loop {
                    let (segments, next) = reader.read(offset, max, filter).unwrap();
                    prop_assert!(segments.iter().map(|s| s.bytes.len()).sum::<usize>() <= max);
                    seen.extend(segments.into_iter().flat_map(|s| s.bytes));
                    if next == offset {
                        break;
                    }
                    offset = next;
                }
                prop_assert_eq!(&seen, &expected);

                let last_two = reader.tail(2, filter).unwrap();
                let (segments, _) = reader.read(last_two, usize::MAX, filter).unwrap();
                let tail: Vec<u8> = segments.into_iter().flat_map(|s| s.bytes).collect();
                let lines: Vec<&[u8]> = expected.split_inclusive(|&b| b == b'\n').collect();
                prop_assert_eq!(tail, lines[lines.len().saturating_sub(2)..].concat());
            }
        }
    }
}
