//! How a run ended, for `show`, `explain` and the last line of `run`: its last words and what to do.

use std::fmt::Write;

use anstyle::Style;

use super::Context;
use crate::api::wire::run::Run;
use crate::client::Client;
use crate::run::status::RunStatus;
use crate::terminal::Plain;
use crate::terminal::build_log::BuildLog;

/// The log of the environment's build, among a run's files.
pub(super) const BUILD_LOG: &str = "system_logs/environment_build.log";

/// How many of its last lines tell why a run failed.
const LAST_LINES: usize = 8;

/// The last lines of the log that tells why a run failed.
#[derive(Debug, Default)]
pub(super) struct LastLines {
    /// Which log it is.
    pub(super) title: &'static str,
    /// The lines, oldest first; none unless the run failed.
    pub(super) lines: Vec<String>,
}

/// Returns the last lines of a failed run's log, or of its environment's build.
pub(super) fn last_lines(context: &Context, client: &Client, run: &Run) -> LastLines {
    if run.summary.status != RunStatus::Failed {
        return LastLines::default();
    }
    let id = &run.summary.run_id;
    let is_build = reason(run) == Some("environment_failed");
    // What cannot be read is missing here, and `logs` says why.
    let bytes = context.wait_for(async {
        if is_build {
            let answer = client.file(id, None, BUILD_LOG.as_bytes()).await?;
            return Ok(answer.bytes().await.map(|bytes| bytes.to_vec()).unwrap_or_default());
        }
        Ok(client.logs(id, None, (0, Some(LAST_LINES as u64)), "all").await?.bytes)
    });
    let bytes = bytes.unwrap_or_default();
    if is_build {
        return LastLines {
            title: "Last lines of the build",
            lines: last(&BuildLog::readable(&bytes)),
        };
    }
    LastLines { title: "Last lines", lines: last(&bytes) }
}

/// Returns the last lines of a log as text.
fn last(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<_> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].to_vec()
}

/// Adds a titled list to a page, if there is something to list. What has several lines stays
/// together.
pub(super) fn write_section(text: &mut String, context: &Context, title: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    let title = context.terminal.paint(Style::new().bold(), title);
    writeln!(text, "{title}").expect("a string takes every text");
    for line in items.iter().flat_map(|item| item.lines()) {
        writeln!(text, "  {}", Plain(line)).expect("a string takes every text");
    }
}

/// Returns the first line of a message, without what only leads over to the next.
pub(super) fn headline(message: &str) -> &str {
    let first = message.lines().next().unwrap_or_default();
    first.strip_suffix(':').unwrap_or(first)
}

/// What a line of a message begins with that says what to do.
const ADVICE: &str = "help: ";

/// Returns the other lines of what a failed run says about its end.
pub(super) fn details(run: &Run) -> impl Iterator<Item = &str> {
    other_lines(run).filter(|line| !line.starts_with(ADVICE))
}

/// Returns what the sandbox of a failed run kept from it, each with the option that allows it.
pub(super) fn denials(run: &Run) -> Vec<String> {
    let sandbox = run.summary.exit.as_ref().and_then(|exit| exit.sandbox.as_ref());
    sandbox.iter().flat_map(|it| &it.denials).map(ToString::to_string).collect()
}

fn other_lines(run: &Run) -> impl Iterator<Item = &str> {
    let message = run.summary.exit.as_ref().map_or("", |exit| &exit.message);
    message.lines().skip(1).map(str::trim)
}

fn reason(run: &Run) -> Option<&str> {
    run.summary.exit.as_ref().map(|exit| exit.reason.as_str())
}

/// The exit code of what shells and init processes cannot find.
const NOT_FOUND: i32 = 127;

/// Returns what a failed run's message says to do, where it does.
pub(super) fn advice(run: &Run) -> Option<&str> {
    let exit = run.summary.exit.as_ref()?;
    let in_image = run.prepared_environment.as_ref().is_some_and(|built| built.image.is_some());
    let lacks = in_image && exit.reason == "script_failed" && exit.code == Some(NOT_FOUND);
    let missing = lacks.then_some(
        "exit code 127 is that of a program that is not there: see whether the image has it, Python included",
    );
    other_lines(run).find_map(|line| line.strip_prefix(ADVICE)).or(missing)
}

/// Returns what to do about a run, called `name` in a shell.
pub(super) fn next_step(run: &Run, name: &str) -> Option<String> {
    let step = match run.summary.status {
        RunStatus::Completed => return None,
        RunStatus::Failed | RunStatus::Canceled => after(reason(run)?)?,
        RunStatus::CancelRequested => "`trainyard cancel --now RUN` ends it at once",
        _ => "`trainyard logs -f RUN` follows it, `trainyard cancel RUN` ends it",
    };
    Some(step.replace("RUN", name))
}

/// Returns what to do after an end.
fn after(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "script_failed" => "`trainyard logs RUN` shows all that it printed",
        "signal" => "if nobody sent the signal, the system may have: it does when memory runs out",
        "out_of_memory" => {
            "use smaller batches, a higher --memory where one was set, or a machine with more memory"
        }
        "time_limit" => "give it more time with --timeout",
        "disk_limit" => "write less, or give it more room with --disk",
        "disk_full" => "`trainyard gc` frees space",
        "environment_failed" => "`trainyard logs --build RUN` shows all that the build said",
        "engine_stopped" => {
            "turn on live-restore in the engine, so that runs outlast it, then `trainyard rerun RUN`"
        }
        "host_rebooted" | "lost_contact" | "supervisor_killed" | "agent_fault" => {
            "not the script's fault: `trainyard rerun RUN`"
        }
        "cancelled" => "`trainyard rerun RUN` runs it again",
        "cannot_start" | "sandbox_failed" => "`trainyard doctor` checks the machine",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::run_document;

    #[test]
    fn a_message_is_told_by_its_first_line() {
        assert_eq!(headline("pip failed (1):\n  + pip\n  no"), "pip failed (1)");
        assert_eq!(headline("exit code 1"), "exit code 1");
        assert_eq!(headline(""), "");
    }

    #[test]
    fn the_last_lines_are_the_last_and_not_more() {
        let log: String = (0..20).map(|line| format!("line {line}\r\n")).collect();
        let lines = last(log.as_bytes());
        assert_eq!(lines.len(), LAST_LINES);
        assert_eq!(lines.first().unwrap(), "line 12");
        assert_eq!(lines.last().unwrap(), "line 19");
        assert_eq!(last(b"\xff no end"), ["\u{fffd} no end"]);
        assert!(last(b"").is_empty());
    }

    #[test]
    fn every_state_but_success_has_a_next_step() {
        let mut steps = Vec::new();
        for (status, reason) in [
            ("Queued", ""),
            ("Running", ""),
            ("CancelRequested", ""),
            ("Completed", "completed"),
            ("Failed", "script_failed"),
            ("Failed", "signal"),
            ("Failed", "out_of_memory"),
            ("Failed", "time_limit"),
            ("Failed", "disk_full"),
            ("Failed", "environment_failed"),
            ("Failed", "engine_stopped"),
            ("Failed", "host_rebooted"),
            ("Failed", "cannot_start"),
            ("Canceled", "cancelled"),
        ] {
            let mut document = run_document();
            document["status"] = status.into();
            document["exit"]["reason"] = reason.into();
            let run = serde_json::from_value(document).unwrap();
            let step = next_step(&run, "'a b'").unwrap_or_default();
            steps.push(format!("{status} {reason}: {step}"));
        }
        insta::assert_snapshot!(steps.join("\n"), @r#"
        Queued : `trainyard logs -f 'a b'` follows it, `trainyard cancel 'a b'` ends it
        Running : `trainyard logs -f 'a b'` follows it, `trainyard cancel 'a b'` ends it
        CancelRequested : `trainyard cancel --now 'a b'` ends it at once
        Completed completed: 
        Failed script_failed: `trainyard logs 'a b'` shows all that it printed
        Failed signal: if nobody sent the signal, the system may have: it does when memory runs out
        Failed out_of_memory: use smaller batches, a higher --memory where one was set, or a machine with more memory
        Failed time_limit: give it more time with --timeout
        Failed disk_full: `trainyard gc` frees space
        Failed environment_failed: `trainyard logs --build 'a b'` shows all that the build said
        Failed engine_stopped: turn on live-restore in the engine, so that runs outlast it, then `trainyard rerun 'a b'`
        Failed host_rebooted: not the script's fault: `trainyard rerun 'a b'`
        Failed cannot_start: `trainyard doctor` checks the machine
        Canceled cancelled: `trainyard rerun 'a b'` runs it again
        "#);
    }
}
