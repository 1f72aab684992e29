//! Reads a run's log by offset, by stream, while it is written.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use memchr::memrchr_iter;
use snapshots::path_error::{IoContext as _, PathError};

use crate::log_index::{HEADER, RECORD_BYTES, Record, Stream};
use crate::run_directory::RunDirectory;

/// Pieces of one stream that follow each other this closely are returned as one.
const TOGETHER_NS: u64 = 10_000_000;
/// How many records are read at once.
const RECORDS_AT_ONCE: u64 = 4096;
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
struct Extent {
    /// How many records of the index are good.
    records: u64,
    /// Where the log ends.
    end: u64,
}

/// A part of the log that came from one stream.
#[derive(Clone, Copy, Debug)]
struct Span {
    begin: u64,
    end: u64,
    stream: Stream,
    time_ns: u64,
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
        let mut reader = Self { run: run.clone(), files: None };
        reader.open_files()?;
        Ok(reader)
    }

    /// Returns how many bytes can be read now.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn len(&mut self) -> Result<u64, PathError> {
        Ok(self.extent()?.end)
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
        let extent = self.extent()?;
        let mut segments = Vec::new();
        let mut next = offset;
        let mut left = max as u64;
        let mut at = self.first_record_after(offset, extent)?;
        let mut joined: Option<Span> = None;
        while left > 0 && next < extent.end {
            let spans = self.spans(at, next, extent)?;
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
        let extent = self.extent()?;
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
            let spans = self.spans(from, self.end_before(from)?, extent)?;
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
            if look(begin, &self.bytes(begin, end)?) {
                return Ok(true);
            }
            end = begin;
        }
        Ok(false)
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
    fn extent(&mut self) -> Result<Extent, PathError> {
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
    fn first_record_after(&self, offset: u64, extent: Extent) -> Result<u64, PathError> {
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
    fn spans(&self, first: u64, begin: u64, extent: Extent) -> Result<Vec<Span>, PathError> {
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

    fn end_before(&self, record: u64) -> Result<u64, PathError> {
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

    fn load(&self, span: Option<Span>, segments: &mut Vec<Segment>) -> Result<(), PathError> {
        if let Some(span) = span {
            segments.push(Segment {
                offset: span.begin,
                next_offset: span.end,
                stream: span.stream,
                time_ns: span.time_ns,
                bytes: self.bytes(span.begin, span.end)?,
            });
        }
        Ok(())
    }

    fn bytes(&self, begin: u64, end: u64) -> Result<Vec<u8>, PathError> {
        let mut bytes = vec![0; usize::try_from(end - begin).unwrap_or(usize::MAX)];
        if let Some(files) = &self.files {
            files.data.read_exact_at(&mut bytes, begin).context("read", self.run.std_log())?;
        }
        Ok(bytes)
    }
}

impl Span {
    fn continues_with(&self, next: &Self) -> bool {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
