//! The events of a followed run, and the pieces of log that most of them are.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use runner::log_index::Stream;
use runner::log_reader::{LogReader, StreamFilter};
use runner::run_directory::RunDirectory;
use serde::Serialize;
use snapshots::path_error::{IoContext, PathError};

use super::super::wire::follow::{BuildEvent, EndEvent, LogEvent, StatusEvent};
use super::super::wire::run::{OutOfContact, Run};
use crate::run::status::RunStatus;

/// The most log that one event holds. Each of the threads that read keeps what it once needed, so
/// that a piece four times as large makes an agent that is followed by several four times as large.
const LARGEST: usize = 64 << 10;

/// Where the run stands now.
pub(super) fn status(
    status: RunStatus,
    position: Option<usize>,
    out_of_contact: Option<OutOfContact>,
) -> Bytes {
    let time = Timestamp::now();
    event("status", None, &StatusEvent { status, position, out_of_contact, time })
}

/// The run is over and this is all.
pub(super) fn end(run: Run) -> Bytes {
    event("end", None, &EndEvent { run: Box::new(run) })
}

fn event<T: Serialize>(name: &str, id: Option<u64>, data: &T) -> Bytes {
    let mut text = format!("event: {name}\n").into_bytes();
    if let Some(id) = id {
        text.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    text.extend_from_slice(b"data: ");
    // JSON on one line has no line ends in it, whatever the texts in it hold.
    serde_json::to_writer(&mut text, data).expect("these documents are made of texts and numbers");
    text.extend_from_slice(b"\n\n");
    Bytes::from(text)
}

/// The logs of a run from an offset on, as events.
#[derive(Clone, Debug)]
pub(super) struct Pieces {
    directory: RunDirectory,
    filter: StreamFilter,
    log: Option<Arc<File>>,
    offset: u64,
    build: Option<Arc<File>>,
    build_offset: u64,
}

impl Pieces {
    pub(super) fn new(
        directory: RunDirectory,
        filter: StreamFilter,
        offset: u64,
        build_offset: u64,
    ) -> Self {
        Self { directory, filter, log: None, offset, build: None, build_offset }
    }

    /// Says whether a log has grown. Cheap: it is asked often.
    pub(super) fn has_more(&mut self) -> Result<bool, PathError> {
        let log = length(&mut self.log, &self.directory.std_log())?;
        let build = length(&mut self.build, &self.directory.build_log())?;
        Ok(log > self.offset || build > self.build_offset)
    }

    /// Reads the next event. `None` when what has grown is not for this follower, or not yet.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, PathError> {
        if let Some(build) = self.next_build()? {
            return Ok(Some(build));
        }
        let mut reader = LogReader::open(&self.directory)?;
        let (segments, next) = reader.read(self.offset, LARGEST, self.filter)?;
        if next <= self.offset {
            return Ok(None);
        }
        self.offset = next;
        let mut events = Vec::new();
        for segment in segments {
            let stream = match segment.stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            };
            let log = LogEvent {
                offset: segment.offset,
                next_offset: segment.next_offset,
                stream: stream.to_owned(),
                time_ns: i64::try_from(segment.time_ns).unwrap_or(i64::MAX),
                data: BASE64_STANDARD.encode(&segment.bytes),
            };
            let event = event("log", Some(segment.next_offset), &log);
            if events.is_empty() {
                events = Vec::from(event);
            } else {
                events.extend_from_slice(&event);
            }
        }
        // Nothing for this follower: an empty piece moves on.
        Ok(Some(Bytes::from(events)))
    }

    fn next_build(&mut self) -> Result<Option<Bytes>, PathError> {
        let path = self.directory.build_log();
        if length(&mut self.build, &path)? <= self.build_offset {
            return Ok(None);
        }
        let Some(file) = &self.build else { return Ok(None) };
        let mut bytes = vec![0; LARGEST];
        let read = file.read_at(&mut bytes, self.build_offset).context("read", &path)?;
        let data = BASE64_STANDARD.encode(&bytes[..read]);
        let build = BuildEvent { offset: self.build_offset, data };
        self.build_offset += read as u64;
        Ok(Some(event("build", None, &build)))
    }
}

/// The length of the file at `path`, which is kept open once it is there.
fn length(kept: &mut Option<Arc<File>>, path: &Path) -> Result<u64, PathError> {
    if kept.is_none() {
        match File::open(path) {
            Ok(file) => *kept = Some(Arc::new(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error).context("open", path),
        }
    }
    match kept {
        Some(file) => Ok(file.metadata().context("examine", path)?.len()),
        None => Ok(0),
    }
}
