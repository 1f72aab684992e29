//! `trainyard explain`: why a run waits, or why it ended.

use std::fmt::Write;

use jiff::Timestamp;

use super::context::SCHEMA_VERSION;
use super::{Context, Exit, Outcome, ending, reference, show, target, waiting};
use crate::api::wire::run::{self, Run};
use crate::api::wire::target::Target;
use crate::client::Start;
use crate::run::status::RunStatus;
use crate::terminal::{Plain, measure};

/// Says why a run waits, or why it ended
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard explain @")]
pub(super) struct Args {
    /// A run's id, a unique beginning of it, its name, or @ for the latest
    #[arg(value_name = "RUN", value_parser = reference::run, add = reference::runs(), default_value = "@")]
    run: String,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Explains a run.
pub(super) fn explain(args: &Args, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    let run = context.wait_for(async { Ok(client.run(&args.run).await?) })?;
    let target = context.wait_for(async { Ok(client.target(&run.summary.target).await?) })?;
    let reasons = reasons(&run, target.as_ref());
    if args.json {
        context.print_json(&serde_json::json!({
            "schemaVersion": SCHEMA_VERSION,
            "runId": run.summary.run_id,
            "status": run.summary.status,
            "exit": run.summary.exit,
            "reasons": reasons,
        }))?;
    } else {
        let mut text = String::new();
        for line in reasons.iter().flat_map(|reason| reason.lines()) {
            writeln!(text, "{}", Plain(line)).expect("a string takes every text");
        }
        let last = ending::last_lines(context, &client, &run);
        ending::write_section(&mut text, context, last.title, &last.lines);
        context.print(text)?;
    }
    Ok(Exit::OK)
}

/// Returns why a run is where it is, most important first.
fn reasons(run: &Run, target: Option<&Target>) -> Vec<String> {
    let name = &run.summary.display_name;
    let mut reasons = match (run.summary.status, &run.summary.exit) {
        (RunStatus::NotStarted | RunStatus::Queued, _) => why_it_waits(run, target),
        (RunStatus::Preparing, _) => {
            vec![format!("{name} is having its source and environment prepared")]
        }
        (RunStatus::Starting, _) => vec![format!("{name} is being started")],
        (RunStatus::Running, _) => vec![format!("{name} runs")],
        (RunStatus::Finalizing, _) => {
            vec![format!("{name} is over; its outputs are being collected")]
        }
        (RunStatus::CancelRequested, _) => {
            vec![format!("{name} was asked to end and has time to do so")]
        }
        (status, Some(exit)) => ended(run, status, exit),
        (status, None) => vec![format!("{name} is {}", status.name())],
    };
    if let Some(contact) = &run.summary.out_of_contact {
        reasons.push(format!(
            "{} is {}, and is tried again and again: {}",
            contact.target,
            target::away(contact, None),
            contact.why
        ));
        reasons.extend(contact.hint.clone());
        reasons.push(
            "what runs there goes on; a cancel is handed on as soon as it is back".to_owned(),
        );
    }
    if let Some(since) = run.engine_away_since_time_utc {
        let away = show::engine_away(since);
        reasons.push(format!(
            "its container engine is {away}: whether the script goes on is not known, its output is \
             still followed, and the run, cancelled or not, ends when the engine answers again"
        ));
    }
    if let (Some(attempt), Some(after)) =
        (waiting::attempt(&run.summary), waiting::after(&run.summary))
    {
        reasons.push(format!("it is at {attempt}, after {after}"));
    } else if let [.., _, last] = run.attempts.as_slice() {
        reasons.push(format!("attempt {}: {}", last.number, last.reason));
    }
    if let Some(network) = show::network(run).filter(|_| run.summary.status != RunStatus::Completed)
    {
        reasons.push(format!(
            "it reaches {} of the network: --network full is more",
            if network == "none" { "nothing" } else { "its own loopback" }
        ));
    }
    reasons.extend(run.warnings.iter().map(|warning| format!("warning: {warning}")));
    reasons.extend(ending::next_step(run, &reference::quoted(name)));
    reasons
}

fn why_it_waits(run: &Run, target: Option<&Target>) -> Vec<String> {
    let name = &run.summary.display_name;
    let draining = target.and_then(|target| target.draining_since_time_utc);
    let mut reasons = vec![match &run.summary.waits_for {
        Some(waits_for) => {
            let sentence = waiting::sentence(waits_for, &run.summary, Timestamp::now());
            format!("{name} waits {sentence}")
        }
        None if draining.is_some() => format!("{name} waits"),
        None => format!("{name} is about to start"),
    }];
    if let Some(since) = draining {
        reasons.push(format!(
            "the agent is draining since {}: it starts no run until `trainyard agent drain --undo`",
            measure::rfc3339(since)
        ));
    }
    if let (Some(position), Some(target)) = (run.summary.position, target) {
        reasons.push(format!("it is number {position} of {} in the queue", target.queued));
    }
    reasons
}

fn ended(run: &Run, status: RunStatus, exit: &run::Exit) -> Vec<String> {
    let name = &run.summary.display_name;
    let mut reasons =
        vec![format!("{name} is {}: {}", status.name(), ending::headline(&exit.message))];
    let mut facts = vec![format!("reason {}", exit.reason)];
    facts.extend(exit.code.map(|code| format!("exit code {code}")));
    facts.extend(exit.signal.map(|signal| format!("signal {signal}")));
    facts.extend(exit.cancelled_by.as_ref().map(|who| format!("cancelled by {who}")));
    reasons.push(facts.join(", "));
    reasons.extend(meaning(run, &exit.reason).map(str::to_owned));
    // The first is in the message.
    reasons.extend(ending::denials(run).into_iter().skip(1));
    reasons.extend(ending::advice(run).map(str::to_owned));
    reasons
}

/// Returns what a reason means for a run that is not plain from its name.
fn meaning(run: &Run, reason: &str) -> Option<&'static str> {
    let is_contained = run.prepared_environment.as_ref().is_some_and(|it| it.image.is_some());
    Some(match reason {
        "engine_stopped" => {
            "the container was not ended by its script: the engine stopped, was restarted without live-restore, or somebody removed the container"
        }
        "out_of_memory" if is_contained => {
            "the kernel ended a process of the container: it, or the machine, had no memory left; the limit is that of --memory, and files in /dev/shm count"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::{busy_target, run_document};

    fn told(status: &str, position: Option<u64>, exit: serde_json::Value) -> String {
        let mut document = run_document();
        document["status"] = status.into();
        document["position"] = position.into();
        document["exit"] = exit;
        if status == "Queued" {
            document["waitsFor"] = serde_json::json!({"for": "places", "most": 4});
        }
        reasons(&serde_json::from_value(document).unwrap(), Some(&busy_target())).join("\n")
    }

    #[test]
    fn a_run_in_a_container_says_what_its_end_means() {
        let mut document = run_document();
        document["status"] = "Failed".into();
        document["preparedEnvironment"]["image"] =
            serde_json::json!({"id": "sha256:01", "reference": "a", "platform": "linux/amd64"});
        let mut told = |reason: &str, message: &str| {
            document["exit"] = exit(reason, None, None);
            document["exit"]["message"] = message.into();
            let run = serde_json::from_value(document.clone()).unwrap();
            reasons(&run, Some(&busy_target())).join("\n")
        };
        let texts = [
            told("engine_stopped", "the engine was restarted"),
            told("out_of_memory", "out of memory"),
            told("environment_failed", "there is no image \"a\": not found\nhelp: check its name"),
        ];
        insta::assert_snapshot!(texts.join("\n\n"), @r#"
        swift-otter-12 is Failed: the engine was restarted
        reason engine_stopped
        the container was not ended by its script: the engine stopped, was restarted without live-restore, or somebody removed the container
        turn on live-restore in the engine, so that runs outlast it, then `trainyard rerun swift-otter-12`

        swift-otter-12 is Failed: out of memory
        reason out_of_memory
        the kernel ended a process of the container: it, or the machine, had no memory left; the limit is that of --memory, and files in /dev/shm count
        use smaller batches, a higher --memory where one was set, or a machine with more memory

        swift-otter-12 is Failed: there is no image "a": not found
        reason environment_failed
        check its name
        `trainyard logs --build swift-otter-12` shows all that the build said
        "#);
    }

    #[test]
    fn an_engine_that_does_not_answer_is_told() {
        let mut document = run_document();
        document["exit"] = serde_json::Value::Null;
        document["engineAwaySinceTimeUtc"] = "2026-11-21T12:00:00Z".into();
        let told = ["Running", "CancelRequested"].map(|status| {
            document["status"] = status.into();
            let run = serde_json::from_value(document.clone()).unwrap();
            reasons(&run, Some(&busy_target())).join("\n")
        });
        for told in told {
            assert!(told.contains("engine is out of contact since 2026-11-21T12:00:00Z"), "{told}");
        }
    }

    fn exit(reason: &str, code: Option<i32>, signal: Option<i32>) -> serde_json::Value {
        serde_json::json!({
            "reason": reason, "code": code, "signal": signal,
            "message": "what happened", "processExitCode": 1
        })
    }

    #[test]
    fn a_run_that_waits_for_a_draining_agent_says_so() {
        let mut document = run_document();
        document["status"] = "Queued".into();
        document["exit"] = serde_json::Value::Null;
        let mut target = busy_target();
        target.draining_since_time_utc = Some("2026-11-21T12:00:00Z".parse().unwrap());
        target.running = 0;
        let run = serde_json::from_value(document).unwrap();
        insta::assert_snapshot!(reasons(&run, Some(&target)).join("\n"), @"
        swift-otter-12 waits
        the agent is draining since 2026-11-21T12:00:00Z: it starts no run until `trainyard agent drain --undo`
        `trainyard logs -f swift-otter-12` follows it, `trainyard cancel swift-otter-12` ends it
        ");
    }

    #[test]
    fn a_run_says_why_it_waits_and_why_it_ended() {
        let texts = [
            told("Queued", Some(2), serde_json::Value::Null),
            told("Running", None, serde_json::Value::Null),
            told("Failed", None, exit("script_failed", Some(3), None)),
            told("Failed", None, exit("signal", None, Some(9))),
            told("Failed", None, exit("environment_failed", None, None)),
            told("Canceled", None, exit("cancelled", None, None)),
        ];
        insta::assert_snapshot!(texts.join("\n\n"), @r#"
        swift-otter-12 waits for a place: at most 4 runs at once, and as many are on
        it is number 2 of 3 in the queue
        `trainyard logs -f swift-otter-12` follows it, `trainyard cancel swift-otter-12` ends it

        swift-otter-12 runs
        `trainyard logs -f swift-otter-12` follows it, `trainyard cancel swift-otter-12` ends it

        swift-otter-12 is Failed: what happened
        reason script_failed, exit code 3
        `trainyard logs swift-otter-12` shows all that it printed

        swift-otter-12 is Failed: what happened
        reason signal, signal 9
        if nobody sent the signal, the system may have: it does when memory runs out

        swift-otter-12 is Failed: what happened
        reason environment_failed
        `trainyard logs --build swift-otter-12` shows all that the build said

        swift-otter-12 is Canceled: what happened
        reason cancelled
        `trainyard rerun swift-otter-12` runs it again
        "#);
    }
}
