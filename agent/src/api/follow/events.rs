//! The events of a followed run, and the pieces of log that most of them are.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
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

use super::super::wire::follow::{AttemptEvent, BuildEvent, EndEvent, LogEvent, StatusEvent};
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

/// An attempt is over and another follows.
pub(super) fn attempt(attempt: &AttemptEvent) -> Bytes {
    event("attempt", None, attempt)
}

/// How far a follower has come: the id of an event. In the first attempt it is the offset alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) attempt: u32,
    pub(super) offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attempt {
            1 => write!(f, "{}", self.offset),
            attempt => write!(f, "{attempt}:{}", self.offset),
        }
    }
}

impl Position {
    /// Reads an id of an event; `None` if it is none of ours.
    pub(super) fn parse(id: &str) -> Option<Self> {
        let (attempt, offset) = id.split_once(':').unwrap_or(("1", id));
        Some(Self { attempt: attempt.parse().ok()?, offset: offset.parse().ok()? })
    }
}

fn event<T: Serialize>(name: &str, id: Option<Position>, data: &T) -> Bytes {
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

/// The logs of an attempt from an offset on, as events.
#[derive(Clone, Debug)]
pub(super) struct Pieces {
    run: RunDirectory,
    attempt: u32,
    filter: StreamFilter,
    log: Option<Arc<File>>,
    offset: u64,
    build: Option<Arc<File>>,
    build_offset: u64,
}

impl Pieces {
    pub(super) fn new(
        run: RunDirectory,
        attempt: u32,
        filter: StreamFilter,
        offset: u64,
        build_offset: u64,
    ) -> Self {
        Self { run, attempt, filter, log: None, offset, build: None, build_offset }
    }

    /// Returns which attempt's they are.
    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns those of the attempt that follows. Who wants none wants none of that either.
    pub(super) fn of_next(self) -> Self {
        let begin = |offset| if offset == u64::MAX { u64::MAX } else { 0 };
        let (offset, build_offset) = (begin(self.offset), begin(self.build_offset));
        Self::new(self.run, self.attempt + 1, self.filter, offset, build_offset)
    }

    /// Says whether a log has grown. Cheap: it is asked often.
    pub(super) fn has_more(&mut self) -> Result<bool, PathError> {
        self.open()?;
        let log = length(self.log.as_deref()).context("examine", self.run.std_log())?;
        let build = length(self.build.as_deref()).context("examine", self.run.build_log())?;
        Ok(log > self.offset || build > self.build_offset)
    }

    /// Reads the next event. `None` when what has grown is not for this follower, or not yet.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, PathError> {
        if let Some(build) = self.next_build()? {
            return Ok(Some(build));
        }
        let (offset, filter) = (self.offset, self.filter);
        let (segments, next) = self.run.read_attempt(self.attempt, |place| {
            LogReader::open(place)?.read(offset, LARGEST, filter)
        })?;
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
            let event = event(
                "log",
                Some(Position { attempt: self.attempt, offset: segment.next_offset }),
                &log,
            );
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
        self.open()?;
        let path = self.run.build_log();
        let Some(file) = &self.build else { return Ok(None) };
        if length(Some(file)).context("examine", &path)? <= self.build_offset {
            return Ok(None);
        }
        let mut bytes = vec![0; LARGEST];
        let read = file.read_at(&mut bytes, self.build_offset).context("read", &path)?;
        let data = BASE64_STANDARD.encode(&bytes[..read]);
        let build = BuildEvent { offset: self.build_offset, data };
        self.build_offset += read as u64;
        Ok(Some(event("build", None, &build)))
    }

    /// Opens the files that are there by now, and keeps them open.
    fn open(&mut self) -> Result<(), PathError> {
        let opened = |path: fn(&RunDirectory) -> PathBuf| {
            self.run.read_attempt(self.attempt, |place| match File::open(path(place)) {
                Ok(file) => Ok(Some(Arc::new(file))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error).context("open", path(place)),
            })
        };
        let log = if self.log.is_none() { opened(RunDirectory::std_log)? } else { None };
        let build = if self.build.is_none() { opened(RunDirectory::build_log)? } else { None };
        self.log = self.log.take().or(log);
        self.build = self.build.take().or(build);
        Ok(())
    }
}

/// The length of a file, once it is there.
fn length(file: Option<&File>) -> io::Result<u64> {
    file.map_or(Ok(0), |file| Ok(file.metadata()?.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_follower_came_is_read_back() {
        for (attempt, offset, id) in [(1, 7, "7"), (2, 0, "2:0")] {
            let position = Position { attempt, offset };
            assert_eq!(position.to_string(), id);
            assert_eq!(Position::parse(id), Some(position));
        }
        assert!(["", "x", "1:", ":1", "-1"].iter().all(|id| Position::parse(id).is_none()));
    }
}
