//! The list of changes of a run: the file `events`, one JSON object a line.
//!
//! Each line has `timeUtc`, `event` (the name of a variant of [`Event`] in snake case) and the
//! fields of that variant in camel case:
//!
//! ```text
//! {"timeUtc":"2026-11-21T10:00:00.5Z","event":"started","pid":4711,"startTime":918230}
//! {"timeUtc":"2026-11-21T10:00:09.1Z","event":"script_ended","code":0,"signal":null}
//! {"timeUtc":"2026-11-21T10:00:09.2Z","event":"ended","reason":"completed"}
//! ```
//!
//! New events may come; readers pass over those they do not know.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use snapshots::path_error::{IoContext as _, PathError};

use crate::cancel_request::CancelledBy;
use crate::exit_record::ExitReason;
use crate::run_directory::RunDirectory;
use crate::sandbox::cgroup::Holder;

/// Something that happened to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Event {
    /// What is to hold the script's processes together was chosen; nothing is made yet.
    Confined {
        /// What it is.
        holder: Holder,
        /// The cgroups that are made for it.
        cgroups: Vec<PathBuf>,
    },
    /// Limits that a run outside of a container was to have do not hold: no cgroup can have them.
    CgroupLimitsLost {
        /// On what.
        limits: Vec<String>,
    },
    /// The script was started.
    Started {
        /// Its process; also its session and process group.
        pid: i32,
        /// When the kernel says it was started, in clock ticks since the boot.
        start_time: u64,
    },
    /// A container was made for the script; it is not started yet.
    ContainerCreated {
        /// What it is called.
        name: String,
        /// Its id.
        id: String,
        /// Its image's id.
        image: String,
    },
    /// The script was started in its container.
    ContainerStarted {
        /// The container's id.
        id: String,
    },
    /// The image has no shell: the engine passes the script's output on, and secrets are files
    /// only.
    NoShell {
        /// What the engine said.
        message: String,
    },
    /// The engine made the container otherwise than it was asked to.
    ContainerWarning {
        /// How, as it says.
        message: String,
    },
    /// The container reaches the addresses at which clouds give a machine its credentials.
    MetadataInReach {
        /// Why it is not kept from them.
        why: String,
    },
    /// Limits that the run was to have do not hold: the engine can set none.
    LimitsLost {
        /// On what.
        limits: Vec<String>,
    },
    /// The container engine stopped answering.
    EngineAway {
        /// How that was seen.
        error: String,
    },
    /// The container engine answers again.
    EngineBack {
        /// Whether the container is on.
        running: bool,
    },
    /// A user asked that it end.
    CancelRequested {
        /// Who.
        by: CancelledBy,
        /// Whether without TERM and grace.
        now: bool,
    },
    /// It ran longer than allowed.
    TimeLimitReached {
        /// The limit.
        seconds: f64,
    },
    /// Nobody watches what its files take of the disk, although they have a limit.
    DiskLimitLost {
        /// Why.
        error: String,
    },
    /// Its files took more of the disk than allowed.
    DiskLimitReached {
        /// What they took.
        bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// The supervisor was asked to stop by a signal.
    StopRequested {
        /// Which.
        signal: i32,
        /// The user who sent it.
        uid: u32,
    },
    /// The script did not end within the grace time and was killed.
    GraceOver {
        /// How long it had.
        seconds: f64,
    },
    /// The script's main process ended.
    ScriptEnded {
        /// Its exit code.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
    },
    /// Processes that the script left behind were ended.
    LeftoversEnded {
        /// How many.
        processes: u32,
    },
    /// Processes that belong to somebody else could not be ended.
    LeftoversRemain {
        /// Which.
        pids: Vec<i32>,
    },
    /// The log could not be written from here on.
    LogBytesDropped {
        /// Why.
        error: String,
    },
    /// The supervisor is gone without having ended the run.
    SupervisorLost {
        /// What is known of it.
        message: String,
    },
    /// The run is over.
    Ended {
        /// Why.
        reason: ExitReason,
    },
}

impl Event {
    /// Says whether the script is at work from here on.
    #[must_use]
    pub fn is_start(&self) -> bool {
        matches!(self, Self::Started { .. } | Self::ContainerStarted { .. })
    }

    /// Says what people should know of the run before it is over, if this is such a thing.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        match self {
            Self::NoShell { message } => Some(format!(
                "the image has no shell ({message}): its engine passed the output on, and secrets \
                 were files only"
            )),
            Self::ContainerWarning { message } => {
                Some(format!("the container engine says: {message}"))
            }
            Self::MetadataInReach { why } => Some(format!(
                "the container can reach 169.254.169.254, where clouds give a machine its \
                 credentials: {why}; `--network none` keeps it from all"
            )),
            Self::LimitsLost { limits } => Some(format!(
                "the container has no limit on {}: its engine can set none (`trainyard doctor` \
                 says why)",
                limits.join(", ")
            )),
            Self::CgroupLimitsLost { limits } => Some(format!(
                "the script has no limit on {}: no cgroup can be had that has one (`trainyard \
                 doctor` says why)",
                limits.join(", ")
            )),
            Self::DiskLimitLost { error } => {
                Some(format!("the run has no limit on the disk, as nothing can watch it: {error}"))
            }
            _ => None,
        }
    }
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimedEvent {
    /// When it happened.
    pub time_utc: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// The file, open for appending.
#[derive(Debug)]
pub(crate) struct EventLog(File);

impl EventLog {
    pub(crate) fn open(run: &RunDirectory) -> Result<Self, PathError> {
        let path = run.events();
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(&path);
        let mut log = Self(file.context("open", path)?);
        if let Err(error) = log.end_half_a_line() {
            eprintln!("cannot end the last event: {error}");
        }
        Ok(log)
    }

    /// Ends a line that a power cut has left half, so that the next stands alone.
    fn end_half_a_line(&mut self) -> std::io::Result<()> {
        let Some(last) = self.0.metadata()?.len().checked_sub(1) else { return Ok(()) };
        let mut byte = [0];
        self.0.read_exact_at(&mut byte, last)?;
        if byte == *b"\n" { Ok(()) } else { self.0.write_all(b"\n") }
    }

    /// Appends one line. A line that cannot be written, as on a full disk, is given up: what
    /// must be known in the end is in `exit.json`.
    pub(crate) fn say(&mut self, event: Event) {
        let line = TimedEvent { time_utc: Timestamp::now(), event };
        let Ok(mut text) = serde_json::to_vec(&line) else { return };
        text.push(b'\n');
        if let Err(error) = self.0.write_all(&text) {
            eprintln!("cannot write an event: {error}");
        }
    }
}

/// Reads the events of `run` in order; a line that is not whole yet is left out.
///
/// # Errors
///
/// When the file is there and cannot be read.
pub fn read(run: &RunDirectory) -> Result<Vec<TimedEvent>, PathError> {
    let path = run.events();
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context("read", path),
    };
    let lines = text.split(|&byte| byte == b'\n');
    Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// Returns since when the engine of a run that is not over is out of contact, if it is.
#[must_use]
pub fn engine_away_since(events: &[TimedEvent]) -> Option<Timestamp> {
    let mut since = None;
    for line in events {
        match line.event {
            Event::EngineAway { .. } => since = Some(line.time_utc),
            Event::EngineBack { .. } | Event::Ended { .. } | Event::SupervisorLost { .. } => {
                since = None;
            }
            _ => {}
        }
    }
    since
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_back_in_order_and_half_a_line_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(directory.path());
        assert_eq!(read(&run).unwrap(), []);
        let started = Event::Started { pid: 7, start_time: 9 };
        let ended = Event::Ended { reason: ExitReason::TimeLimit };

        let mut log = EventLog::open(&run).unwrap();
        log.say(started.clone());
        log.say(ended.clone());
        log.0.write_all(b"{\"timeUtc\":").unwrap();

        let events =
            || -> Vec<_> { read(&run).unwrap().into_iter().map(|line| line.event).collect() };
        assert_eq!(events(), [started.clone(), ended.clone()]);
        EventLog::open(&run).unwrap().say(ended.clone());
        assert_eq!(events(), [started, ended.clone(), ended]);
    }

    #[test]
    fn an_engine_is_away_until_it_is_back_or_the_run_is_over() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let line = |second, event| TimedEvent { time_utc: at(second), event };
        let away = |second| line(second, Event::EngineAway { error: String::new() });
        let back = |second| line(second, Event::EngineBack { running: true });
        let ended = line(9, Event::Ended { reason: ExitReason::Completed });

        assert_eq!(engine_away_since(&[]), None);
        assert_eq!(engine_away_since(&[away(1)]), Some(at(1)));
        assert_eq!(engine_away_since(&[away(1), back(2)]), None);
        assert_eq!(engine_away_since(&[away(1), back(2), away(3)]), Some(at(3)));
        assert_eq!(engine_away_since(&[away(1), ended]), None);
    }

    #[test]
    fn what_people_should_know_is_a_warning() {
        let message = || "no swap limit".to_owned();
        let warnings: Vec<_> = [
            Event::NoShell { message: "/bin/sh is not there".to_owned() },
            Event::ContainerWarning { message: message() },
            Event::MetadataInReach { why: message() },
            Event::EngineAway { error: message() },
            Event::CgroupLimitsLost { limits: vec!["memory".to_owned(), "processes".to_owned()] },
        ]
        .iter()
        .filter_map(Event::warning)
        .collect();
        insta::assert_snapshot!(warnings.join("\n"), @r#"
        the image has no shell (/bin/sh is not there): its engine passed the output on, and secrets were files only
        the container engine says: no swap limit
        the container can reach 169.254.169.254, where clouds give a machine its credentials: no swap limit; `--network none` keeps it from all
        the script has no limit on memory, processes: no cgroup can be had that has one (`trainyard doctor` says why)
        "#);
    }

    #[test]
    fn a_line_keeps_its_shape() {
        let line = TimedEvent {
            time_utc: Timestamp::UNIX_EPOCH,
            event: Event::CancelRequested { by: CancelledBy { uid: 0, user: None }, now: true },
        };
        insta::assert_snapshot!(serde_json::to_string(&line).unwrap(), @r#"{"timeUtc":"1970-01-01T00:00:00Z","event":"cancel_requested","by":{"uid":0,"user":null},"now":true}"#);
    }
}
