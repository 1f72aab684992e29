//! What comes of a run: its log, its metrics, and what another machine says of it.

use std::fs;

use runner::log_reader::{LogReader, StreamFilter};
use runner::metrics_line;
use runner::remote::frame::{self, Kind, Message};
use runner::remote::message::Request;
use runner::run_directory::RunDirectory;

/// Frames, and the messages in them.
pub(crate) fn frames(bytes: &[u8]) {
    let mut rest = bytes;
    let mut message = Message::default();
    while let Ok(Some((kind, payload))) = frame::read(&mut rest) {
        if matches!(kind, Kind::Part | Kind::Message | Kind::Refusal)
            && let Ok(Some(json)) = message.take(kind, payload)
        {
            let _refused = serde_json::from_slice::<Request>(&json);
        }
    }
}

/// A metric is a number that has a name.
pub(crate) fn metrics(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Some(metric) = metrics_line::parse(line) {
            assert!(!metric.name.is_empty());
        }
    }
}

/// A log whose index says anything: the first byte tells how much of the rest is the log's. What is
/// read is of the log, in order, and ends.
pub(crate) fn log(bytes: &[u8]) {
    let (&[share], rest) = bytes
        .split_at_checked(1)
        .map_or((&[0], bytes), |(first, rest)| (first.try_into().expect("one byte"), rest));
    let (text, index) = rest.split_at(rest.len() * usize::from(share) / 255);
    let directory = tempfile::tempdir().expect("a directory");
    let run = RunDirectory::new(directory.path());
    for (path, bytes) in [(run.std_log(), text), (run.std_log_index(), index)] {
        fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        fs::write(path, bytes).expect("a file");
    }
    let Ok(mut reader) = LogReader::open(&run) else { return };
    for filter in [StreamFilter::All, StreamFilter::Stdout, StreamFilter::Stderr] {
        let mut offset = 0;
        while let Ok((segments, next)) = reader.read(offset, 4096, filter) {
            let mut end = offset;
            for segment in segments {
                assert!(segment.offset >= end, "in order");
                end = segment.offset + segment.bytes.len() as u64;
                let from = usize::try_from(segment.offset).expect("it is in memory");
                assert_eq!(&text[from..][..segment.bytes.len()], &segment.bytes[..]);
            }
            if next <= offset {
                break;
            }
            offset = next;
        }
        let _unread = reader.tail(3, filter);
    }
}
