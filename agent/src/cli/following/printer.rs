//! A run's bytes on our streams.

use std::io::{self, Write};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{StatusEvent, queue_line};
use crate::api::wire::follow::AttemptEvent;
use crate::api::wire::run::OutOfContact;
use crate::cli::ending::headline;
use crate::cli::target;
use crate::client::Event;
use crate::run::status::RunStatus;
use crate::terminal::build_log::{self, BuildLog, Piece};
use crate::terminal::log_filter::LogFilter;
use crate::terminal::{Progress, Terminal, measure};

/// A run that waits for less than this is not worth a line.
const PATIENCE: Duration = Duration::from_millis(300);

/// Passes a run's bytes on: exactly where a program reads them, without control sequences where a
/// terminal shows them.
pub(in crate::cli) struct Printer<'a> {
    terminal: &'a Terminal,
    out: Sink<io::Stdout>,
    err: Sink<io::Stderr>,
    /// How the run is called, where its states are worth lines.
    name: Option<String>,
    said: Option<RunStatus>,
    /// Which target was said to be out of contact, and since when.
    away: Option<(String, Timestamp)>,
    /// That the run waits, to be said once it has waited for a while.
    waits: Option<(Instant, String)>,
    build: Build,
    /// Whether both of the script's streams go to standard output.
    merged: bool,
}

/// What is shown of a build.
#[derive(Default)]
struct Build {
    log: BuildLog,
    /// On a terminal.
    bar: Option<Progress>,
    /// The latest, where nobody watches.
    last: Option<images::progress::Progress>,
}

impl Build {
    /// Shows the latest line, or how far it is.
    fn show(&mut self, terminal: &Terminal, bytes: &[u8]) {
        let bar = self.bar.get_or_insert_with(|| Progress::new(terminal, "Building"));
        for piece in self.log.feed(bytes) {
            match piece {
                Piece::Progress(progress) => bar.set_share(&progress),
                Piece::Text(bytes) => {
                    let text = String::from_utf8_lossy(&bytes);
                    if let Some(line) = text.lines().rfind(|line| !line.trim().is_empty()) {
                        bar.set(|| line.trim().to_owned());
                    }
                }
            }
        }
    }
}

/// One of our streams.
struct Sink<W> {
    stream: W,
    /// Whether what it shows must be made harmless.
    filter: Option<LogFilter>,
    /// Whether a terminal's cursor is at the beginning of a line.
    at_line_start: bool,
    is_terminal: bool,
}

impl<W: Write> Sink<W> {
    fn new(stream: W, is_terminal: bool, raw: bool) -> Self {
        let filter = (is_terminal && !raw).then(LogFilter::default);
        Self { stream, filter, at_line_start: true, is_terminal }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut shown = Vec::new();
        let bytes = match &mut self.filter {
            Some(filter) => {
                filter.feed(bytes, &mut shown);
                &shown
            }
            None => bytes,
        };
        if let Some(last) = bytes.last() {
            self.at_line_start = *last == b'\n';
        }
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Ends a line that the script left open, so that ours begin on their own.
    fn end_line(&mut self) -> io::Result<()> {
        if self.is_terminal && !self.at_line_start {
            self.at_line_start = true;
            self.stream.write_all(b"\n")?;
            self.stream.flush()?;
        }
        Ok(())
    }
}

impl<'a> Printer<'a> {
    /// Makes a printer for this process's streams; `raw` leaves control sequences in.
    pub(in crate::cli) fn new(terminal: &'a Terminal, raw: bool) -> Self {
        Self {
            terminal,
            out: Sink::new(io::stdout(), terminal.out_is_terminal(), raw),
            err: Sink::new(io::stderr(), terminal.err_is_terminal(), raw),
            name: None,
            said: None,
            away: None,
            waits: None,
            build: Build::default(),
            merged: false,
        }
    }

    /// Lets both of the script's streams go to standard output.
    pub(in crate::cli) fn merged(mut self) -> Self {
        self.merged = true;
        self
    }

    /// Lets it also say when the run, called `name`, waits and starts.
    pub(in crate::cli) fn with_states(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Shows what happened.
    pub(super) fn show(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Status(event) => {
                self.state(&event);
                Ok(())
            }
            Event::Build(bytes) => self.build(&bytes),
            Event::Log { bytes, is_stderr } => {
                self.build_is_over()?;
                // A short script's output may be told before that it runs.
                self.runs();
                if is_stderr && !self.merged {
                    self.err.write(&bytes)
                } else {
                    self.out.write(&bytes)
                }
            }
            Event::Attempt(event) => {
                self.status("Retrying", again_line(&event, Timestamp::now()));
                // Said; what is worth a line is that it runs.
                self.said = Some(RunStatus::Queued);
                Ok(())
            }
            Event::End(_) => self.finish(),
        }
    }

    /// Writes bytes of a log to standard output.
    pub(in crate::cli) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write(bytes)
    }

    fn write_own(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.terminal.is_quiet() { Ok(()) } else { self.err.write(bytes) }
    }

    /// Says something of our own, on a line of its own.
    pub(super) fn status(&mut self, verb: &str, text: String) {
        // Whoever closed our streams does not read this line either.
        self.finish().ok();
        self.terminal.status(verb, text);
    }

    /// Ends open lines.
    pub(in crate::cli) fn finish(&mut self) -> io::Result<()> {
        self.build_is_over()?;
        self.out.end_line()?;
        self.err.end_line()
    }

    /// The build's lines go to standard error. A terminal sees the latest one only, or how far
    /// the build is.
    pub(in crate::cli) fn build(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.err.is_terminal && self.name.is_some() {
            self.build.show(self.terminal, bytes);
            return Ok(());
        }
        for piece in self.build.log.feed(bytes) {
            match piece {
                Piece::Progress(progress) => self.build.last = Some(progress),
                Piece::Text(bytes) => {
                    self.last_progress()?;
                    self.write_own(&bytes)?;
                }
            }
        }
        Ok(())
    }

    fn build_is_over(&mut self) -> io::Result<()> {
        self.build.bar = None;
        self.last_progress()?;
        let rest = self.build.log.finish();
        if rest.is_empty() { Ok(()) } else { self.write_own(&rest) }
    }

    fn last_progress(&mut self) -> io::Result<()> {
        match self.build.last.take() {
            Some(last) => self.write_own(build_log::done(&last).as_bytes()),
            None => Ok(()),
        }
    }

    fn state(&mut self, event: &StatusEvent) {
        self.contact(event.out_of_contact.as_ref());
        let Some(name) = &self.name else { return };
        match event.status {
            RunStatus::Queued if self.said != Some(RunStatus::Queued) => {
                self.waits = Some((Instant::now() + PATIENCE, queue_line(event, name)));
            }
            RunStatus::Queued => {}
            RunStatus::Running => self.runs(),
            _ => self.waits = None,
        }
    }

    /// Says, once each, that the run's target is out of contact, and that it is back.
    fn contact(&mut self, now: Option<&OutOfContact>) {
        let since = now.map(|contact| contact.since);
        let line = match (self.away.take(), now) {
            (before, Some(contact)) => {
                let away = target::away(contact, None);
                let said = before.is_some_and(|(_, said)| Some(said) == since);
                self.away = Some((contact.target.clone(), contact.since));
                (!said).then(|| format!("{} {away}: {}; waiting", contact.target, contact.why))
            }
            (Some((target, _)), None) => Some(format!("{target} is back")),
            (None, None) => None,
        };
        if let Some(line) = line {
            self.status("Contact", line);
        }
    }

    /// Says that the run runs, once.
    fn runs(&mut self) {
        self.waits = None;
        if self.said == Some(RunStatus::Running) {
            return;
        }
        self.said = Some(RunStatus::Running);
        if let Some(name) = self.name.clone() {
            self.status("Running", name);
        }
    }

    /// Waits until it is time to say that the run waits; for ever if it does not.
    pub(super) fn patience(&self) -> impl Future<Output = ()> + use<> {
        let until = self.waits.as_ref().map(|(until, _)| *until);
        async move {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Says that the run waits.
    pub(super) fn say_that_it_waits(&mut self) {
        if let Some((_, line)) = self.waits.take() {
            self.said = Some(RunStatus::Queued);
            self.status("Queued", line);
        }
    }

    /// Returns how the run is called, where that is known.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

/// Returns `attempt 1 ended: the machine was restarted; attempt 2 of 4 in 10s`.
fn again_line(event: &AttemptEvent, now: Timestamp) -> String {
    let AttemptEvent { ended, exit, next, of, begins_time_utc } = event;
    let wait = begins_time_utc.map(|begins| measure::between(now, begins));
    let wait = wait.filter(|wait| !wait.is_zero());
    let wait = wait.map_or_else(String::new, |wait| format!(" in {}", measure::duration(wait)));
    format!("attempt {ended} ended: {}; attempt {next} of {of}{wait}", headline(&exit.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_follows_is_told_with_what_ended_the_one_before() {
        let mut event: AttemptEvent = serde_json::from_value(serde_json::json!({
            "ended": 1, "next": 2, "of": 4, "beginsTimeUtc": "2026-11-21T12:00:10Z",
            "exit": {
                "reason": "host_rebooted", "code": null, "signal": null,
                "message": "the machine was restarted while the run was running",
                "processExitCode": 125,
            },
        }))
        .unwrap();
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        insta::assert_snapshot!(again_line(&event, now), @"attempt 1 ended: the machine was restarted while the run was running; attempt 2 of 4 in 10.0s");
        event.begins_time_utc = None;
        assert!(again_line(&event, now).ends_with("; attempt 2 of 4"));
    }

    fn sink(is_terminal: bool, raw: bool) -> Sink<Vec<u8>> {
        Sink::new(Vec::new(), is_terminal, raw)
    }

    #[test]
    fn a_program_gets_every_byte() {
        let mut sink = sink(false, false);
        sink.write(b"a\x1b[2J\xff\r\n\0").unwrap();
        sink.end_line().unwrap();
        assert_eq!(sink.stream, b"a\x1b[2J\xff\r\n\0");
    }

    #[test]
    fn a_terminal_gets_text_only_unless_told_otherwise() {
        let mut shown = sink(true, false);
        shown.write(b"a\x1b[2Jb\n").unwrap();
        assert_eq!(shown.stream, b"ab\n");

        let mut raw = sink(true, true);
        raw.write(b"a\x1b[2Jb\n").unwrap();
        assert_eq!(raw.stream, b"a\x1b[2Jb\n");
    }

    #[test]
    fn our_lines_begin_on_their_own_on_a_terminal() {
        let mut sink = sink(true, false);
        sink.write(b"50%\r").unwrap();
        sink.end_line().unwrap();
        sink.end_line().unwrap();
        assert_eq!(sink.stream, b"50%\r\n");
    }
}
