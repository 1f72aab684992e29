//! `trainyard show`: everything about one run.

use std::collections::BTreeMap;
use std::fmt::Write;

use anstyle::Style;
use jiff::Timestamp;
use runner::run_configuration::Network;

use super::ending::{self, write_section};
use super::{Context, Exit, Outcome, reference, target, waiting};
use crate::api::wire::run::{Attempt, Run, RunAttempt, RunSummary};
use crate::client::Start;
use crate::run::status::RunStatus;
use crate::terminal::{Plain, measure};

/// Shows everything about a run
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  trainyard show @")]
pub(super) struct Args {
    /// A run's id, a unique beginning of it, its name, or @ for the latest
    #[arg(value_name = "RUN", value_parser = reference::run, add = reference::runs(), default_value = "@")]
    run: String,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Shows a run.
pub(super) fn show(args: &Args, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    if args.json {
        // As the agent has it, so that what a newer agent adds is not lost.
        let run: serde_json::Value =
            context.wait_for(async { Ok(client.get(&["runs", &args.run], &()).await?) })?;
        context.print_json(&run)?;
        return Ok(Exit::OK);
    }
    let run = context.wait_for(async { Ok(client.run(&args.run).await?) })?;
    let now = context.terminal.out_is_terminal().then(Timestamp::now);
    let mut text = String::new();
    for (label, value) in facts(&run, now) {
        let label = context.terminal.paint(Style::new().bold(), &format!("{label:<12}"));
        writeln!(text, "{label} {}", Plain(&value)).expect("a string takes every text");
    }
    let last = ending::last_lines(context, &client, &run);
    write_section(&mut text, context, "Attempts", &attempts(&run, now));
    write_section(&mut text, context, "Metrics", &metrics(&run));
    write_section(&mut text, context, "Outputs", &outputs(&run));
    write_section(&mut text, context, "Warnings", &run.warnings);
    write_section(&mut text, context, "Kept from it", &ending::denials(&run));
    write_section(&mut text, context, last.title, &last.lines);
    let name = reference::quoted(&run.summary.display_name);
    let advice = ending::advice(&run).map(str::to_owned);
    let next: Vec<_> = advice.into_iter().chain(ending::next_step(&run, &name)).collect();
    write_section(&mut text, context, "Next", &next);
    context.print(text)?;
    Ok(Exit::OK)
}

/// Says that the engine of a run's container does not answer.
pub(super) fn engine_away(since: Timestamp) -> String {
    format!("out of contact since {}", measure::rfc3339(since))
}

/// Returns what is known of a run, most wanted first. Times are relative if `now` is given.
fn facts(run: &Run, now: Option<Timestamp>) -> Vec<(&'static str, String)> {
    let summary = &run.summary;
    let moment = |moment| match now {
        Some(now) => measure::ago(moment, now),
        None => measure::rfc3339(moment),
    };
    let mut facts = vec![
        ("Run", summary.display_name.clone()),
        ("Id", summary.run_id.clone()),
        ("User", other_user(summary).unwrap_or_default()),
        ("Experiment", summary.experiment.clone()),
        ("Status", status(run, now)),
        ("Contact", contact(run, now).unwrap_or_default()),
        ("Engine", run.engine_away_since_time_utc.map(engine_away).unwrap_or_default()),
        ("Attempt", summary.attempt.as_ref().map(retries).unwrap_or_default()),
        ("Created", moment(summary.created_time_utc)),
        ("Command", summary.command_line.clone()),
        ("Target", summary.target.clone()),
        ("Environment", environment(run)),
        ("Image", image(run).unwrap_or_default()),
        ("Sandbox", sandbox(run).unwrap_or_default()),
        ("Network", network(run).unwrap_or_default()),
        ("Source", run.request.source_directory.clone()),
        ("Snapshot", summary.snapshot_id.clone()),
    ];
    if let Some(git) = git(&run.properties) {
        facts.push(("Git", git));
    }
    if !summary.tags.is_empty() {
        let tags: Vec<_> =
            summary.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        facts.push(("Tags", tags.join(" ")));
    }
    if summary.priority != 0 {
        facts.push(("Priority", summary.priority.to_string()));
    }
    if let Some(original) = &run.request.rerun_of {
        facts.push(("Rerun of", original.clone()));
    }
    facts.push(("Directory", run.run_directory.clone()));
    facts.retain(|(_, value)| !value.is_empty());
    facts
}

/// Returns whose a run is, where it is not ours.
fn other_user(run: &RunSummary) -> Option<String> {
    let is_ours = run.uid == rustix::process::geteuid().as_raw();
    run.user.clone().filter(|_| !is_ours)
}

fn status(run: &Run, now: Option<Timestamp>) -> String {
    let summary = &run.summary;
    let mut text = summary.status.name().to_owned();
    if let Some(position) = summary.position {
        text.push_str(&format!(", number {position} in the queue"));
    }
    if let Some(waits_for) = &summary.waits_for {
        text.push_str(&format!(
            ", waits {}",
            waiting::sentence(waits_for, summary, now.unwrap_or_else(Timestamp::now))
        ));
    }
    match (summary.start_time_utc, summary.end_time_utc, now) {
        (Some(start), Some(end), _) => {
            text.push_str(&format!(" in {}", measure::duration(measure::between(start, end))));
        }
        (Some(start), None, Some(now)) => {
            text.push_str(&format!(" for {}", measure::duration(measure::between(start, now))));
        }
        _ => {}
    }
    if let Some(exit) = &summary.exit
        && summary.status != RunStatus::Completed
    {
        text.push_str(&format!(": {}", ending::headline(&exit.message)));
    }
    text
}

fn retries(attempt: &RunAttempt) -> String {
    format!("{} of {}", attempt.number, attempt.of)
}

/// Returns a line for each start of a run that has had several: `1  submitted 5m ago, 3.2s: exit
/// code 1`.
fn attempts(run: &Run, now: Option<Timestamp>) -> Vec<String> {
    let line = |attempt: &Attempt| {
        let begun = match now {
            Some(now) => measure::ago(attempt.start_time_utc, now),
            None => measure::rfc3339(attempt.start_time_utc),
        };
        let took = attempt.end_time_utc.map(|end| measure::between(attempt.start_time_utc, end));
        let took = took.map(|took| format!(", {}", measure::duration(took))).unwrap_or_default();
        let end =
            attempt.exit.as_ref().map(|exit| format!(": {}", ending::headline(&exit.message)));
        let reason = attempt.reason.replace('_', " ");
        let why = if reason == "submitted" { reason } else { format!("after {reason}") };
        format!("{}  {why}, {begun}{took}{}", attempt.number, end.unwrap_or_default())
    };
    match &run.attempts[..] {
        [] | [_] => Vec::new(),
        several => several.iter().map(line).collect(),
    }
}

/// Says since when the run's target cannot be reached, why, and what to do.
fn contact(run: &Run, now: Option<Timestamp>) -> Option<String> {
    let contact = run.summary.out_of_contact.as_ref()?;
    let away = target::away(contact, now);
    let hint = contact.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    Some(format!("{} {away}: {}{hint}", contact.target, contact.why))
}

fn environment(run: &Run) -> String {
    match &run.prepared_environment {
        Some(prepared) => {
            let reused = if prepared.key.is_none() {
                ""
            } else if prepared.reused {
                ", reused"
            } else {
                ", built for this run"
            };
            // Of an image as it is, nobody knows the version.
            let version = prepared.python_version.as_ref().map(|it| format!("Python {it}"));
            match version {
                Some(version) if !prepared.name.contains(&version) => {
                    format!("{} ({version}{reused})", prepared.name)
                }
                _ => format!("{}{reused}", prepared.name),
            }
        }
        None => run.summary.environment.clone(),
    }
}

/// Returns `python:3.11 (python@sha256:…)`: what was asked for, and what exactly that was.
fn image(run: &Run) -> Option<String> {
    let image = run.prepared_environment.as_ref()?.image.as_ref()?;
    let exactly = image.digest.as_ref().unwrap_or(&image.id);
    let base = image.base_digest.as_ref().map(|base| format!(", built on {base}"));
    Some(format!("{} ({exactly}{})", image.reference, base.unwrap_or_default()))
}

/// Says which sandbox a run was in, and what it was not kept from.
fn sandbox(run: &Run) -> Option<String> {
    let record = run.summary.exit.as_ref()?.sandbox.as_ref()?;
    let mut text = record.tier.to_string();
    for missing in &record.missing {
        text += &format!("; {}", missing.why);
    }
    Some(text)
}

/// Returns what of the network a run reaches, where that is less than all.
pub(super) fn network(run: &Run) -> Option<String> {
    let network = run.request.network.filter(|network| *network != Network::Full)?;
    Some(network.to_string())
}

/// Returns `main@9bd01f2, modified`, from Azure's property names.
fn git(properties: &BTreeMap<String, String>) -> Option<String> {
    let commit = properties.get("azureml.git.commit")?;
    let short = commit.get(..7).unwrap_or(commit);
    let branch = properties.get("azureml.git.branch").map_or("(no branch)", String::as_str);
    let is_dirty =
        properties.get("azureml.git.dirty").is_some_and(|dirty| dirty.eq_ignore_ascii_case("true"));
    Some(format!("{branch}@{short}{}", if is_dirty { ", modified" } else { "" }))
}

/// Returns a line for each metric: its last value, and how it moved if it did.
fn metrics(run: &Run) -> Vec<String> {
    let width = run.metrics.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    run.metrics
        .iter()
        .map(|(name, points)| {
            let values: Vec<f64> = points.iter().filter_map(|point| point.value).collect();
            let last = points.last().and_then(|point| point.value);
            let last = last.map_or_else(|| "not a number".to_owned(), measure::number);
            let line = format!("{name:<width$}  {last}");
            if values.len() < 2 {
                return line;
            }
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let (least, most) = (measure::number(least), measure::number(most));
            format!("{line}  (last of {}, {least} to {most})", points.len())
        })
        .collect()
}

fn outputs(run: &Run) -> Vec<String> {
    const SHOWN: usize = 20;
    let mut lines: Vec<_> = run
        .output_files
        .iter()
        .take(SHOWN)
        .map(|file| format!("{:>9}  {}", measure::size(file.size), file.path))
        .collect();
    if run.output_files.len() > SHOWN {
        let more = (run.output_files.len() - SHOWN) as u64;
        lines.push(format!("and {} more: trainyard outputs", measure::count(more, "file")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::run_document;

    #[test]
    fn a_run_is_shown_on_a_page() {
        let run: Run = serde_json::from_value(run_document()).unwrap();
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();

        let page: Vec<_> = facts(&run, Some(now))
            .into_iter()
            .map(|(label, value)| format!("{label:<12} {value}"))
            .chain(metrics(&run))
            .chain(outputs(&run))
            .collect();

        insta::assert_snapshot!(page.join("\n"), @r#"
        Run          swift-otter-12
        Id           diabetes_1795261800_0a1b2c3d
        Experiment   diabetes
        Status       Completed in 1m 12s
        Created      10m ago
        Command      train.py --lr 0.1
        Target       local
        Environment  requirements.txt → venv 5e1f20ab (Python 3.11.7, reused)
        Source       /home/me/diabetes
        Snapshot     8f3a1c2d8f3a1c2d8f3a1c2d8f3a1c2d8f3a1c2d8f3a1c2d8f3a1c2d8f3a1c2d
        Git          main@9bd01f2, modified
        Tags         team=blue
        Directory    /state/runs/diabetes_1795261800_0a1b2c3d
        loss  0.31  (last of 2, 0.31 to 0.52)
        rows  442
           4.1 MB  outputs/model.pkl
        "#);
    }

    #[test]
    fn a_run_in_a_container_says_in_which_image_exactly() {
        let mut document = run_document();
        document["preparedEnvironment"]["pythonVersion"] = serde_json::Value::Null;
        document["preparedEnvironment"]["image"] = serde_json::json!({
            "id": "sha256:01", "reference": "trainyard-env:5e1f20ab", "platform": "linux/amd64",
            "baseDigest": "python@sha256:02",
        });
        let mut run: Run = serde_json::from_value(document).unwrap();
        let shown = |run: &Run| {
            let facts = facts(run, None).into_iter();
            let ours = facts.filter(|(label, _)| ["Environment", "Image"].contains(label));
            ours.map(|(_, value)| value).collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(shown(&run), @r#"
        requirements.txt → venv 5e1f20ab, reused
        trainyard-env:5e1f20ab (sha256:01, built on python@sha256:02)
        "#);
        let image = run.prepared_environment.as_mut().unwrap().image.as_mut().unwrap();
        image.base_digest = None;
        image.digest = Some("python@sha256:02".to_owned());
        assert!(shown(&run).ends_with("trainyard-env:5e1f20ab (python@sha256:02)"));
    }

    #[test]
    fn the_attempts_of_a_run_are_listed_with_their_ends() {
        let mut document = run_document();
        document["attempt"] = serde_json::json!({"number": 2, "of": 4, "after": "lost_contact"});
        let first = &mut document["attempts"][0];
        first["exit"] = serde_json::json!({
            "reason": "lost_contact", "code": null, "signal": null,
            "message": "target \"gpu-vm\" has nothing of the run any more",
            "processExitCode": 125,
        });
        let mut second = first.clone();
        second["number"] = 2.into();
        second["reason"] = "lost_contact".into();
        second["endTimeUtc"] = serde_json::Value::Null;
        second["exit"] = serde_json::Value::Null;
        document["attempts"].as_array_mut().unwrap().push(second);
        let run: Run = serde_json::from_value(document).unwrap();
        insta::assert_snapshot!(attempts(&run, None).join("\n"), @r#"
        1  submitted, 2026-11-21T11:50:00Z, 1m 13s: target "gpu-vm" has nothing of the run any more
        2  after lost contact, 2026-11-21T11:50:00Z
        "#);
        let shown = facts(&run, None).into_iter().find(|(label, _)| *label == "Attempt");
        assert_eq!(shown.unwrap().1, "2 of 4");
    }

    #[test]
    fn a_target_out_of_contact_is_told_of() {
        let mut document = run_document();
        document["outOfContact"] = serde_json::json!({
            "target": "gpu-vm", "since": "2026-11-21T11:55:00Z", "why": "cannot reach vm port 22",
        });
        let mut run: Run = serde_json::from_value(document).unwrap();
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let told = |run: &Run, now| contact(run, now).unwrap();
        assert_eq!(
            told(&run, Some(now)),
            "gpu-vm out of contact for 5m 00s: cannot reach vm port 22"
        );
        let contact = run.summary.out_of_contact.as_mut().unwrap();
        contact.hint = Some("is it on?".to_owned());
        assert_eq!(
            told(&run, None),
            "gpu-vm out of contact since 2026-11-21T11:55:00Z: cannot reach vm port 22; is it on?"
        );
    }

    #[test]
    fn without_a_terminal_times_are_rfc_3339() {
        let run: Run = serde_json::from_value(run_document()).unwrap();
        let created = facts(&run, None).into_iter().find(|(label, _)| *label == "Created");
        assert_eq!(created.unwrap().1, "2026-11-21T11:50:00Z");
    }
}
