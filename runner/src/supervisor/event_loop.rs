//! The one loop of a supervisor: output, signals, cancel requests and deadlines, one thread.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::inotify::Inotify;
use nix::sys::signal::{SigSet, Signal as Signals};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::cancel_request::CancelRequest;
use crate::log_index::Stream;
use crate::run_directory::RunDirectory;
use crate::supervisor::disk_watch::DiskWatch;
use crate::supervisor::events::{Event, EventLog};
use crate::supervisor::log_writer::LogWriter;
use crate::supervisor::pace::Pace;
use crate::supervisor::verdict::{Ending, ScriptStatus};
use crate::supervisor::watches::{LOOK_AGAIN, Watches};
use crate::supervisor::workload::Workload;

/// As much as a pipe holds, so that one read empties it.
const BUFFER_BYTES: usize = 1 << 20;
/// How long output that somebody passes on is waited for.
const LAST_OUTPUT: Duration = Duration::from_secs(5);

/// How the script may end before it ends by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Duration,
    /// What the run's files may take of the disk.
    pub(crate) disk_bytes: Option<u64>,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ScriptStatus,
    pub(crate) ending: Option<Ending>,
    pub(crate) leftovers: u32,
}

/// Where the loop stands.
#[derive(Debug)]
enum Phase {
    Running,
    /// The script was asked to end and is killed at that time.
    Asked {
        ending: Ending,
        kill_at: Instant,
    },
}

/// All that the loop watches and writes.
pub(crate) struct EventLoop<'a> {
    run: &'a RunDirectory,
    workload: &'a mut dyn Workload,
    streams: [(Stream, Option<OwnedFd>); 2],
    watches: Watches,
    log: &'a mut LogWriter,
    events: &'a mut EventLog,
    phase: Phase,
    started: Instant,
    limits: Limits,
    /// `None` without a limit on the disk.
    disk: Option<DiskWatch>,
    pace: Pace,
    buffer: Vec<u8>,
}

/// Returns the signals that a supervisor reads instead of being interrupted by them.
pub(crate) fn handled_signals() -> SigSet {
    [Signals::SIGCHLD, Signals::SIGTERM, Signals::SIGINT, Signals::SIGHUP].into_iter().collect()
}

impl<'a> EventLoop<'a> {
    /// Looks after `workload`, which runs, and the reading ends of its stdout and stderr.
    /// `watches` were opened before the last look for a cancel request.
    pub(crate) fn new(
        run: &'a RunDirectory,
        workload: &'a mut dyn Workload,
        [stdout, stderr]: [OwnedFd; 2],
        watches: Watches,
        (log, events): (&'a mut LogWriter, &'a mut EventLog),
        limits: Limits,
    ) -> Self {
        Self {
            run,
            workload,
            streams: [(Stream::Stdout, Some(stdout)), (Stream::Stderr, Some(stderr))],
            watches,
            log,
            events,
            phase: Phase::Running,
            started: Instant::now(),
            limits,
            disk: None,
            pace: Pace::default(),
            buffer: vec![0; BUFFER_BYTES],
        }
    }

    /// Runs until the script is over, no process of it is left and its output is in the log.
    pub(crate) fn run(mut self) -> Outcome {
        self.watch_the_disk();
        while !self.is_over() {
            self.wait();
            self.read_signals();
            self.read_cancel_request();
            self.check_time_limit();
            self.check_disk_limit();
            if self.drain() {
                self.pace.rest();
            }
        }
        self.end()
    }

    /// Says whether nothing is left to wait for: what remains is killed next.
    fn is_over(&mut self) -> bool {
        match &self.phase {
            Phase::Running => self.workload.status().is_some(),
            Phase::Asked { kill_at, .. } if Instant::now() >= *kill_at => {
                if self.workload.status().is_none() && !self.limits.grace.is_zero() {
                    let seconds = self.limits.grace.as_secs_f64();
                    self.events.say(Event::GraceOver { seconds });
                }
                true
            }
            Phase::Asked { .. } => self.workload.status().is_some() && !self.workload.is_at_work(),
        }
    }

    fn wait(&self) {
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(6);
        let open = self.streams.iter().filter_map(|(_, fd)| fd.as_ref().map(OwnedFd::as_fd));
        let others = self.watches.cancel.iter().map(Inotify::as_fd).chain(self.workload.wakes());
        let others = others.chain(self.disk.iter().map(DiskWatch::wakes));
        fds.extend(
            open.chain(others)
                .map(|fd: BorrowedFd<'_>| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
        );
        fds.push(PollFd::new(&self.watches.signals, PollFlags::IN));
        let timeout = self.timeout().map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        // An interruption is as good as an event: everything is looked at anyway.
        let _interrupted = poll(&mut fds, timeout.as_ref());
    }

    /// Returns how long to wait at most.
    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        let deadline = match &self.phase {
            Phase::Running => self.limits.timeout.map(|limit| self.started + limit),
            Phase::Asked { kill_at, .. } => Some(*kill_at),
        };
        let left = deadline.map(|at| at.saturating_duration_since(now));
        let look_again = self.watches.cancel.is_none().then_some(LOOK_AGAIN);
        left.into_iter().chain(look_again).min()
    }

    fn read_signals(&mut self) {
        while let Ok(Some(info)) = self.watches.signals.read_signal() {
            let signal = info.ssi_signo.cast_signed();
            if let Ok(Signals::SIGTERM | Signals::SIGINT) = Signals::try_from(signal) {
                let uid = info.ssi_uid;
                self.events.say(Event::StopRequested { signal, uid });
                self.ask(Ending::Stopped { signal, uid }, self.limits.grace);
            }
        }
        self.workload.look(self.events);
    }

    fn read_cancel_request(&mut self) {
        if let Some(watch) = &self.watches.cancel
            && watch.read_events().is_err()
        {
            return;
        }
        match CancelRequest::read(self.run) {
            Ok(Some(request)) => self.cancel(request),
            Ok(None) => {}
            Err(error) => eprintln!("{error}"),
        }
    }

    /// Follows a request; the same one seen again changes nothing, a more urgent one does.
    fn cancel(&mut self, request: CancelRequest) {
        // What has ended by itself was not cancelled.
        if self.workload.status().is_some() && matches!(self.phase, Phase::Running) {
            return;
        }
        match &mut self.phase {
            Phase::Asked { ending: Ending::Cancelled(before), .. } if *before == request => return,
            Phase::Asked { kill_at, .. } => {
                if request.now {
                    *kill_at = Instant::now();
                }
            }
            Phase::Running => {
                let grace = if request.now { Duration::ZERO } else { self.limits.grace };
                self.ask(Ending::Cancelled(request.clone()), grace);
            }
        }
        self.events.say(Event::CancelRequested { by: request.by.clone(), now: request.now });
        if let Phase::Asked { ending: Ending::Cancelled(before), .. } = &mut self.phase {
            *before = request;
        }
    }

    fn check_time_limit(&mut self) {
        let Some(limit) = self.limits.timeout else { return };
        let waits = matches!(self.phase, Phase::Running) && self.workload.status().is_none();
        if waits && self.started.elapsed() >= limit {
            let seconds = limit.as_secs_f64();
            self.events.say(Event::TimeLimitReached { seconds });
            self.ask(Ending::TimeLimit { seconds }, self.limits.grace);
        }
    }

    fn watch_the_disk(&mut self) {
        let Some(limit) = self.limits.disk_bytes else { return };
        match DiskWatch::begin(self.run, limit) {
            Ok(watch) => self.disk = Some(watch),
            Err(error) => {
                self.events.say(Event::DiskLimitLost { error: error.to_string() });
            }
        }
    }

    fn check_disk_limit(&mut self) {
        let Some((watch, limit_bytes)) = self.disk.as_ref().zip(self.limits.disk_bytes) else {
            return;
        };
        let Some(bytes) = watch.excess() else { return };
        self.disk = None;
        if matches!(self.phase, Phase::Running) && self.workload.status().is_none() {
            self.events.say(Event::DiskLimitReached { bytes, limit_bytes });
            // Whatever it writes in a grace time is more of what there is too much of.
            self.ask(Ending::DiskLimit { bytes, limit_bytes }, Duration::ZERO);
        }
    }

    /// Asks the script to end.
    fn ask(&mut self, ending: Ending, grace: Duration) {
        if !matches!(self.phase, Phase::Running) {
            return;
        }
        if !grace.is_zero() {
            self.workload.ask_to_end();
        }
        self.phase = Phase::Asked { ending, kill_at: Instant::now() + grace };
    }

    /// Moves what is in the pipes into the log, one read each; says whether there was anything.
    fn drain(&mut self) -> bool {
        let mut any = false;
        for (stream, pipe) in &mut self.streams {
            let Some(open) = pipe else { continue };
            match rustix::io::read(&*open, &mut self.buffer) {
                Ok(0) => {
                    self.log.finish(*stream);
                    *pipe = None;
                }
                Ok(count) => {
                    self.log.append(*stream, &self.buffer[..count]);
                    self.pace.read(count);
                    any = true;
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(error) => {
                    eprintln!("cannot read {stream:?} of the script: {error}");
                    *pipe = None;
                }
            }
        }
        self.log.publish();
        if let Some(error) = self.log.take_error() {
            self.events.say(Event::LogBytesDropped { error: error.to_string() });
        }
        any
    }

    /// Kills what is left, then empties the pipes: nobody can write into them any more.
    fn end(mut self) -> Outcome {
        let run = self.run;
        let is_urgent = || CancelRequest::read(run).is_ok_and(|it| it.is_some_and(|it| it.now));
        let left = self.workload.end(self.events, &is_urgent);
        while self.drain() || self.more_output_comes() {}
        for (stream, pipe) in &mut self.streams {
            // Still open: in the hands of a process that does not descend from us, or our own.
            if pipe.take().is_some() {
                self.log.finish(*stream);
            }
        }
        let killed = ScriptStatus::Signal(rustix::process::Signal::KILL.as_raw());
        let status = self.workload.status().unwrap_or(killed);
        self.events.say(match status {
            ScriptStatus::Code(code) => Event::ScriptEnded { code: Some(code), signal: None },
            ScriptStatus::Signal(signal) => Event::ScriptEnded { code: None, signal: Some(signal) },
        });
        if left.killed > 0 {
            self.events.say(Event::LeftoversEnded { processes: left.killed });
        }
        if !left.remaining.is_empty() {
            self.events.say(Event::LeftoversRemain { pids: left.remaining });
        }
        let ending = match self.phase {
            Phase::Running => None,
            Phase::Asked { ending, .. } => Some(ending),
        };
        Outcome { status, ending, leftovers: left.killed }
    }

    /// Waits for output that somebody still passes on, or for them to be done.
    fn more_output_comes(&mut self) -> bool {
        if !self.workload.output_may_come() {
            return false;
        }
        let open = self.streams.iter().filter_map(|(_, fd)| fd.as_ref().map(OwnedFd::as_fd));
        let fds = open.chain(self.workload.wakes());
        let mut fds: Vec<PollFd<'_>> =
            fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let patience = Timespec { tv_sec: LAST_OUTPUT.as_secs().cast_signed(), tv_nsec: 0 };
        let came = poll(&mut fds, Some(&patience)).is_ok_and(|ready| ready > 0);
        self.workload.look(self.events);
        came
    }
}
