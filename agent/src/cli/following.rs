//! Following a run on the terminal: its bytes on our streams, its state in our lines.

mod printer;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Context, Exit, Failure, ending, reference};
use crate::api::wire::follow::StatusEvent;
use crate::api::wire::run::Run;
use crate::client::{Client, Event, Follow, From};
use crate::run::status::RunStatus;
use crate::terminal::{Terminal, measure};

pub(super) use printer::Printer;

/// What Ctrl-C means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnInterrupt {
    /// The first cancels the run and keeps following, the second leaves.
    Cancel,
    /// It leaves.
    Leave,
}

/// How following ended.
#[derive(Debug)]
pub(super) enum Followed {
    /// With the run.
    Ended(Box<Run>),
    /// The user left; the run goes on.
    Left,
}

/// Signals that ask this command to end.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::failed);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Passes on what `run` writes until it ends or the user leaves.
///
/// # Errors
///
/// The agent is lost for good, or our own streams are closed. The run goes on.
pub(super) async fn follow(
    client: &Client,
    run: &str,
    from: From,
    printer: &mut Printer<'_>,
    on_interrupt: OnInterrupt,
) -> Result<Followed, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let mut following = client.follow(run, from);
    let mut cancelled = false;
    loop {
        tokio::select! {
            biased;
            () = interrupts.next() => {
                if on_interrupt == OnInterrupt::Leave || cancelled {
                    return Ok(Followed::Left);
                }
                cancelled = true;
                let name = printer.name().unwrap_or(run).to_owned();
                printer.status("Cancelling", format!("{name} (Ctrl-C again leaves without waiting)"));
                client.cancel(run, false).await?;
            }
            () = printer.patience() => printer.say_that_it_waits(),
            event = next(&mut following) => match event? {
                Event::End(run) => {
                    printer.finish()?;
                    return Ok(Followed::Ended(run));
                }
                event => printer.show(event)?,
            },
        }
    }
}

async fn next(following: &mut Follow<'_>) -> Result<Event, Failure> {
    Ok(following.next().await?)
}

/// Follows a run that this command started, says how it ended and returns its exit code.
pub(super) fn follow_to_exit(
    context: &Context,
    client: &Client,
    run_id: &str,
    name: &str,
    raw: bool,
) -> Result<Exit, Failure> {
    let from = From { attempt: Some(1), offset: 0, build_offset: 0, stream: "all" };
    let mut printer = Printer::new(&context.terminal, raw).with_states(name);
    let followed =
        context.wait_for(follow(client, run_id, from, &mut printer, OnInterrupt::Cancel));
    match followed {
        Ok(Followed::Ended(run)) => {
            let latest = context.wait_for(async { Ok(client.run("@").await?) });
            let is_latest = latest.is_ok_and(|latest| latest.summary.run_id == run.summary.run_id);
            let reference = if is_latest {
                "@".to_owned()
            } else {
                reference::to_type(context, client, run_id, name)
            };
            say_how_it_ended(&context.terminal, &run, &reference);
            Ok(exit_of(&run))
        }
        Ok(Followed::Left) => {
            let typed = reference::to_type(context, client, run_id, name);
            let line = format!("{name} is still ending; `trainyard logs -f {typed}` returns to it");
            context.terminal.status("Detached", line);
            Ok(Exit(130))
        }
        Err(failure) => Err({
            failure.hint(format!("the run goes on; `trainyard logs -f {run_id}` returns to it"))
        }),
    }
}

/// Returns the exit code of `run` and `wait` for a run that ended.
pub(super) fn exit_of(run: &Run) -> Exit {
    match &run.summary.exit {
        Some(exit) => Exit(u8::try_from(exit.process_exit_code).unwrap_or(Exit::OURS.0)),
        None if run.summary.status == RunStatus::Completed => Exit::OK,
        None => Exit::OURS,
    }
}

fn say_how_it_ended(terminal: &Terminal, run: &Run, reference: &str) {
    let line = closing_line(run, reference);
    // A terminal has seen a build's log as one line that moved, and has lost it.
    if terminal.err_is_terminal() {
        for line in ending::details(run) {
            terminal.detail(line);
        }
    }
    // Those of the submission were said when it was handed in.
    for warning in run.warnings.iter().skip(run.request.warnings.len()) {
        terminal.warning(warning);
    }
    match run.summary.status {
        RunStatus::Completed => terminal.status("Completed", line),
        status => terminal.failed(status.name(), line),
    }
    if let Some(advice) = ending::advice(run) {
        terminal.help(advice);
    }
}

/// Returns what is said at the end: `in 1m 12s · loss=0.31 · 3 outputs (4.1 MB) · trainyard show @`.
fn closing_line(run: &Run, reference: &str) -> String {
    let mut parts = Vec::new();
    if let (Some(start), Some(end)) = (run.summary.start_time_utc, run.summary.end_time_utc) {
        parts.push(format!("in {}", measure::duration(measure::between(start, end))));
    }
    if let Some(exit) = &run.summary.exit
        && run.summary.status != RunStatus::Completed
    {
        let message = ending::headline(&exit.message);
        // After `Canceled` it need not be said again.
        let again = if parts.is_empty() { message.strip_prefix("cancelled ") } else { None };
        parts.push(again.unwrap_or(message).to_owned());
    }
    let metrics: Vec<_> = run
        .metrics
        .iter()
        .filter_map(|(name, points)| {
            Some(format!("{name}={}", measure::number(points.last()?.value?)))
        })
        .take(4)
        .collect();
    if !metrics.is_empty() {
        parts.push(metrics.join(" "));
    }
    if !run.output_files.is_empty() {
        let bytes = run.output_files.iter().map(|file| file.size).sum();
        let count = measure::count(run.output_files.len() as u64, "output");
        parts.push(format!("{count} ({})", measure::size(bytes)));
    }
    parts.push(format!("trainyard show {reference}"));
    parts.join(" · ")
}

/// Returns what is said of a run that waits.
fn queue_line(event: &StatusEvent, name: &str) -> String {
    match event.position {
        Some(position) if position > 1 => format!("{name}, number {position} in the queue"),
        _ => format!("{name}, next in the queue"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::run_document;

    #[test]
    fn the_last_line_says_what_came_of_it_and_where_to_look() {
        let mut lines = Vec::new();
        for (status, code, reason) in [
            ("Completed", 0, "completed"),
            ("Failed", 1, "script_failed"),
            ("Failed", 137, "signal"),
            ("Canceled", 130, "cancelled"),
        ] {
            let mut document = run_document();
            document["status"] = status.into();
            document["exit"]["reason"] = reason.into();
            document["exit"]["processExitCode"] = code.into();
            document["exit"]["message"] = format!("the message for {reason}").into();
            let run: Run = serde_json::from_value(document).unwrap();
            lines.push(format!("{status} {} → exit {}", closing_line(&run, "@"), exit_of(&run).0));
        }
        insta::assert_snapshot!(lines.join("\n"), @r#"
        Completed in 1m 12s · loss=0.31 rows=442 · 1 output (4.1 MB) · trainyard show @ → exit 0
        Failed in 1m 12s · the message for script_failed · loss=0.31 rows=442 · 1 output (4.1 MB) · trainyard show @ → exit 1
        Failed in 1m 12s · the message for signal · loss=0.31 rows=442 · 1 output (4.1 MB) · trainyard show @ → exit 137
        Canceled in 1m 12s · the message for cancelled · loss=0.31 rows=442 · 1 output (4.1 MB) · trainyard show @ → exit 130
        "#);
    }

    #[test]
    fn an_end_of_many_lines_is_told_by_its_first() {
        let mut document = run_document();
        for (status, message) in [
            ("Failed", "pip could not install (exit status: 1):\n  + pip\n  ERROR: no"),
            ("Canceled", "cancelled before the script started"),
        ] {
            document["status"] = status.into();
            document["startTimeUtc"] = serde_json::Value::Null;
            document["metrics"] = serde_json::json!({});
            document["outputFiles"] = serde_json::json!([]);
            document["exit"]["message"] = message.into();
            let run: Run = serde_json::from_value(document.clone()).unwrap();
            let line = closing_line(&run, "@");
            let expected = match status {
                "Failed" => "pip could not install (exit status: 1) · trainyard show @",
                _ => "before the script started · trainyard show @",
            };
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn a_run_without_an_exit_is_our_fault_unless_it_completed() {
        let mut document = run_document();
        document["exit"] = serde_json::Value::Null;
        let run: Run = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(exit_of(&run), Exit::OK);

        document["status"] = "Failed".into();
        let run: Run = serde_json::from_value(document).unwrap();
        assert_eq!(exit_of(&run), Exit::OURS);
    }
}
