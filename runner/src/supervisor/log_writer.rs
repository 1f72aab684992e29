//! Writes what a script says into the log and its index, and never stops reading because the
//! disk is full.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::time::{SystemTime, UNIX_EPOCH};

use snapshots::path_error::{IoContext as _, PathError};

use crate::log_index::{HEADER, RECORD_BYTES, Record, Stream};
use crate::run_directory::RunDirectory;
use crate::supervisor::masker::Masker;

/// How many records may wait for an index that cannot be written before output is dropped.
const MAX_WAITING: usize = 64 * 1024;

/// The log of a run, open for writing. One writer, once: the files must not exist.
#[derive(Debug)]
pub(crate) struct LogWriter {
    data: File,
    index: File,
    /// Where the next byte of the log goes.
    end: u64,
    /// Where the next record goes.
    index_end: u64,
    waiting: Vec<Record>,
    maskers: [Masker; 2],
    masked: Vec<u8>,
    dropped: u64,
    disk_was_full: bool,
    first_error: Option<io::Error>,
}

impl LogWriter {
    /// Creates both files of `run`, whose `user_logs/` exists.
    pub(crate) fn create(run: &RunDirectory, masker: &Masker) -> Result<Self, PathError> {
        let open = |path| {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .context("create", &path)
        };
        let data = open(run.std_log())?;
        let mut index = open(run.std_log_index())?;
        index.write_all(&HEADER).context("write", run.std_log_index())?;
        Ok(Self::on(data, index, masker))
    }

    fn on(data: File, index: File, masker: &Masker) -> Self {
        Self {
            data,
            index,
            end: 0,
            index_end: HEADER.len() as u64,
            waiting: Vec::new(),
            maskers: [masker.clone(), masker.clone()],
            masked: Vec::new(),
            dropped: 0,
            disk_was_full: false,
            first_error: None,
        }
    }

    /// Takes what `stream` said. What cannot be written is counted, not kept: a full disk must
    /// neither stop the script nor fill the memory.
    pub(crate) fn append(&mut self, stream: Stream, bytes: &[u8]) {
        let masker = &mut self.maskers[slot(stream)];
        if masker.is_idle() {
            self.write(stream, bytes);
        } else {
            let mut masked = std::mem::take(&mut self.masked);
            masked.clear();
            masker.push(bytes, &mut masked);
            self.write(stream, &masked);
            self.masked = masked;
        }
    }

    /// Writes what was held back of `stream`, which is over.
    pub(crate) fn finish(&mut self, stream: Stream) {
        let mut rest = Vec::new();
        self.maskers[slot(stream)].finish(&mut rest);
        self.write(stream, &rest);
    }

    /// Lets readers see what was appended.
    pub(crate) fn publish(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let bytes: Vec<u8> = self.waiting.iter().flat_map(Record::encode).collect();
        // At a fixed place: what was written of a failed attempt is written over by the next.
        match self.index.write_all_at(&bytes, self.index_end) {
            Ok(()) => {
                self.index_end += bytes.len() as u64;
                debug_assert_eq!(bytes.len() % RECORD_BYTES, 0);
                self.waiting.clear();
            }
            Err(error) => self.note(error),
        }
    }

    /// Puts everything on the disk.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.publish();
        self.data.sync_all()?;
        self.index.sync_all()
    }

    /// Returns how many bytes the log holds.
    pub(crate) fn bytes(&self) -> u64 {
        self.end
    }

    /// Returns how many bytes were lost.
    pub(crate) fn bytes_dropped(&self) -> u64 {
        self.dropped
    }

    /// Says whether the disk was full when something was to be written.
    pub(crate) fn disk_was_full(&self) -> bool {
        self.disk_was_full
    }

    /// Returns the first thing that went wrong, once.
    pub(crate) fn take_error(&mut self) -> Option<io::Error> {
        self.first_error.take()
    }

    fn write(&mut self, stream: Stream, mut bytes: &[u8]) {
        if self.waiting.len() >= MAX_WAITING {
            self.dropped += bytes.len() as u64;
            return;
        }
        let begin = self.end;
        while !bytes.is_empty() {
            match self.data.write_at(bytes, self.end) {
                Ok(written) if written > 0 => {
                    self.end += written as u64;
                    bytes = &bytes[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                failed => {
                    self.dropped += bytes.len() as u64;
                    self.note(failed.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into()));
                    break;
                }
            }
        }
        if self.end > begin {
            self.describe(Record { end: self.end, time_ns: now_ns(), stream });
        }
    }

    fn describe(&mut self, record: Record) {
        match self.waiting.last_mut() {
            Some(last) if last.stream == record.stream => last.end = record.end,
            _ => self.waiting.push(record),
        }
    }

    fn note(&mut self, error: io::Error) {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        self.disk_was_full |= matches!(error.kind(), StorageFull | QuotaExceeded);
        self.first_error.get_or_insert(error);
    }
}

fn slot(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::log_reader::{LogReader, StreamFilter};

    fn run() -> (tempfile::TempDir, RunDirectory) {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(directory.path());
        fs::create_dir(directory.path().join("user_logs")).unwrap();
        (directory, run)
    }

    #[test]
    fn the_log_is_what_was_said_and_the_index_tells_who_said_it() {
        let (_directory, run) = run();
        let mut log = LogWriter::create(&run, &Masker::new([])).unwrap();

        log.append(Stream::Stdout, b"out\n");
        log.append(Stream::Stderr, b"err\n");
        log.append(Stream::Stderr, b"\xff\0");
        log.sync().unwrap();

        assert_eq!(fs::read(run.std_log()).unwrap(), b"out\nerr\n\xff\0");
        let mut reader = LogReader::open(&run).unwrap();
        let (pieces, next) = reader.read(0, 100, StreamFilter::All).unwrap();
        let said: Vec<_> = pieces.iter().map(|p| (p.stream, p.bytes.as_slice())).collect();
        let expected =
            [(Stream::Stdout, b"out\n".as_slice()), (Stream::Stderr, b"err\n\xff\0".as_slice())];
        assert_eq!(said, expected);
        assert_eq!(next, 10);
    }

    #[test]
    fn nothing_is_seen_before_it_is_published() {
        let (_directory, run) = run();
        let mut log = LogWriter::create(&run, &Masker::new([])).unwrap();
        let mut reader = LogReader::open(&run).unwrap();

        log.append(Stream::Stdout, b"out\n");
        assert_eq!(reader.len().unwrap(), 0);
        log.publish();
        assert_eq!(reader.len().unwrap(), 4);
    }

    #[test]
    fn each_stream_is_masked_by_itself() {
        let (_directory, run) = run();
        let mut log = LogWriter::create(&run, &Masker::new([b"hunter2".as_slice()])).unwrap();

        log.append(Stream::Stdout, b"a hunt");
        log.append(Stream::Stderr, b"er2 b");
        log.append(Stream::Stdout, b"er2 c hun");
        log.finish(Stream::Stdout);
        log.finish(Stream::Stderr);

        assert_eq!(fs::read(run.std_log()).unwrap(), b"a er2 b*** c hun");
    }

    #[test]
    fn a_full_disk_drops_and_counts() {
        let (_directory, run) = run();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let index = File::create(run.std_log_index()).unwrap();
        let mut log = LogWriter::on(full, index, &Masker::new([]));

        log.append(Stream::Stdout, b"lost");

        assert_eq!((log.bytes(), log.bytes_dropped()), (0, 4));
        assert!(log.disk_was_full());
        assert_eq!(log.take_error().unwrap().kind(), io::ErrorKind::StorageFull);
        assert!(log.take_error().is_none());
    }

    #[test]
    fn an_index_that_cannot_be_written_does_not_fill_the_memory() {
        let (_directory, run) = run();
        let data = File::create(run.std_log()).unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut log = LogWriter::on(data, full, &Masker::new([]));

        for _ in 0..MAX_WAITING {
            log.append(Stream::Stdout, b"o");
            log.append(Stream::Stderr, b"e");
        }
        log.publish();

        assert_eq!(log.waiting.len(), MAX_WAITING);
        assert_eq!(log.bytes() + log.bytes_dropped(), 2 * MAX_WAITING as u64);
    }

    #[test]
    fn a_log_is_written_once() {
        let (_directory, run) = run();
        drop(LogWriter::create(&run, &Masker::new([])).unwrap());
        let error = LogWriter::create(&run, &Masker::new([])).unwrap_err();
        assert!(error.to_string().starts_with("cannot create "), "{error}");
    }
}
