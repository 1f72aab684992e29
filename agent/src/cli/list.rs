//! `trainyard list`: the runs, newest first.

use jiff::Timestamp;
use serde::Serialize;

use super::context::SCHEMA_VERSION;
use super::{Context, Exit, Failure, Outcome, waiting};
use crate::api::wire::run::RunSummary;
use crate::client::{ListQuery, Start};
use crate::run::status::RunStatus;
use crate::terminal::measure;
use crate::terminal::table::{self, Align};

/// Lists your runs, newest first
///
/// A terminal gets a table. A file or pipe gets a line for each run without a head, tabs between:
/// id, status, time of creation, duration, experiment, command, and with --all-users the user.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "ps",
    after_help = "Example:\n  trainyard list --experiment diabetes --status Failed -n 5"
)]
pub(super) struct Args {
    /// Shows so many at most
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    limit: u32,
    /// Shows all
    #[arg(short, long, conflicts_with = "limit")]
    all: bool,
    /// Shows runs of this experiment only
    #[arg(short = 'x', long, value_name = "NAME")]
    experiment: Option<String>,
    /// Shows runs with this status only, as in Running, Completed, Failed
    #[arg(short, long, value_name = "STATUS")]
    status: Option<String>,
    /// Shows runs with this tag only
    #[arg(long, value_name = "K[=V]")]
    tag: Option<String>,
    /// Shows the runs of all users, and whose they are; for who looks after the agent
    #[arg(long)]
    all_users: bool,
    /// Prints a JSON array
    #[arg(long)]
    json: bool,
}

/// Lists runs.
pub(super) fn list(args: &Args, context: &Context) -> Outcome {
    let (client, agent) = context.agent(Start::IfNone)?;
    let query = ListQuery {
        limit: if args.all { None } else { Some(args.limit) },
        experiment: args.experiment.clone(),
        status: args.status.as_deref().map(status).transpose()?,
        tag: args.tag.clone(),
        all_users: args.all_users,
        key: None,
    };
    let runs = context.wait_for(async { Ok(client.runs(&query).await?) })?;
    if args.json {
        let documents: Vec<_> = runs.iter().map(Document::of).collect();
        context.print_json(&documents)?;
    } else if context.terminal.is_quiet() {
        context.print(runs.iter().map(|run| format!("{}\n", run.run_id)).collect::<String>())?;
    } else if runs.is_empty() && context.terminal.out_is_terminal() {
        context.terminal.help(nothing(&query, agent.rules));
    } else {
        let now = context.terminal.out_is_terminal().then(Timestamp::now);
        let mut head = HEAD.to_vec();
        let mut rows: Vec<_> = runs.iter().map(|run| row(run, now)).collect();
        if args.all_users {
            head.push(("user", Align::Left));
            rows.iter_mut().zip(&runs).for_each(|(row, run)| row.push(user(run)));
        }
        context.print(table::render(&context.terminal, &head, &rows))?;
    }
    Ok(Exit::OK)
}

/// Returns what to say instead of an empty table.
fn nothing(query: &ListQuery, rules: bool) -> &'static str {
    if query.experiment.is_some() || query.status.is_some() || query.tag.is_some() {
        "no run is like that; `trainyard list` without options shows the latest"
    } else if rules && !query.all_users {
        "no runs of yours yet; `trainyard run train.py` makes one, --all-users shows everybody's"
    } else {
        "no runs yet; `trainyard run train.py` makes one"
    }
}

const HEAD: &[(&str, Align)] = &[
    ("name", Align::Left),
    ("status", Align::Left),
    ("created", Align::Left),
    ("took", Align::Right),
    ("experiment", Align::Left),
    ("command", Align::Left),
];

/// Returns whose a run is: the name of the user, or the number where there is none.
pub(super) fn user(run: &RunSummary) -> String {
    run.user.clone().unwrap_or_else(|| run.uid.to_string())
}

/// A run as `list --json` has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    schema_version: u32,
    #[serde(flatten)]
    run: &'a RunSummary,
}

impl<'a> Document<'a> {
    fn of(run: &'a RunSummary) -> Self {
        Self { schema_version: SCHEMA_VERSION, run }
    }
}

/// Returns a status as the agent names it, however it was typed.
fn status(typed: &str) -> Result<String, Failure> {
    let named = RunStatus::ALL.iter().find(|status| status.name().eq_ignore_ascii_case(typed));
    named.map(|status| status.name().to_owned()).ok_or_else(|| {
        let names: Vec<_> = RunStatus::ALL.iter().map(|status| status.name()).collect();
        Failure::usage(format!("there is no status {typed:?}"))
            .hint(format!("it is one of {}", names.join(", ")))
    })
}

/// Returns a run's cells. For people, who have a `now`, times are relative; programs also get the
/// id in place of the name.
fn row(run: &RunSummary, now: Option<Timestamp>) -> Vec<String> {
    let end = run.end_time_utc.or(now);
    let took = match (run.start_time_utc, end) {
        (Some(start), Some(end)) => measure::duration(measure::between(start, end)),
        _ => String::new(),
    };
    let status = match (&run.exit, run.position) {
        (Some(exit), _) if run.status == RunStatus::Failed => {
            format!("{} ({})", run.status.name(), exit.process_exit_code)
        }
        (_, Some(position)) => format!("{} #{position}", run.status.name()),
        _ if run.waits_for.is_some() => {
            let now = now.unwrap_or_else(Timestamp::now);
            let word = run.waits_for.as_ref().map(|it| waiting::word(it, run, now));
            format!("{} ({})", run.status.name(), word.unwrap_or_default())
        }
        _ => run.status.name().to_owned(),
    };
    let status = match run.out_of_contact {
        Some(_) => format!("{status} (no contact)"),
        None => status,
    };
    let created = match now {
        Some(now) => measure::ago(run.created_time_utc, now),
        None => measure::rfc3339(run.created_time_utc),
    };
    let name = if now.is_some() { &run.display_name } else { &run.run_id };
    vec![name.clone(), status, created, took, run.experiment.clone(), run.command_line.clone()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_selection_is_not_taken_for_no_runs() {
        assert!(
            nothing(&ListQuery { limit: Some(20), ..ListQuery::default() }, false).contains("yet")
        );
        let selected = ListQuery { tag: Some("a".to_owned()), ..ListQuery::default() };
        assert!(nothing(&selected, false).starts_with("no run is like that"));
    }
    use crate::cli::tests::run_document;

    fn summary() -> RunSummary {
        serde_json::from_value(run_document()).unwrap()
    }

    #[test]
    fn people_see_names_and_programs_ids() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        insta::assert_snapshot!(row(&summary(), Some(now)).join(" | "), @"swift-otter-12 | Completed | 10m ago | 1m 12s | diabetes | train.py --lr 0.1");
        insta::assert_snapshot!(row(&summary(), None).join(" | "), @"diabetes_1795261800_0a1b2c3d | Completed | 2026-11-21T11:50:00Z | 1m 12s | diabetes | train.py --lr 0.1");
    }

    #[test]
    fn a_run_whose_target_is_out_of_contact_has_a_mark() {
        let mut document = run_document();
        document["status"] = "Running".into();
        document["exit"] = serde_json::Value::Null;
        document["outOfContact"] =
            serde_json::json!({"target": "gpu-vm", "since": "2026-11-21T11:55:00Z", "why": "x"});
        let run: RunSummary = serde_json::from_value(document).unwrap();
        assert_eq!(row(&run, None)[1], "Running (no contact)");
    }

    #[test]
    fn the_json_of_a_list_has_no_long_parts() {
        let document = serde_json::to_value(Document::of(&summary())).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap(), @r#"
        {
          "schemaVersion": 1,
          "runId": "diabetes_1795261800_0a1b2c3d",
          "uid": 0,
          "experiment": "diabetes",
          "displayName": "swift-otter-12",
          "status": "Completed",
          "position": null,
          "target": "local",
          "environment": "requirements.txt",
          "commandLine": "train.py --lr 0.1",
          "snapshotId": "8f3a1c2d8f3a1c2d8f3a1c2d8f3a1c2d8f3a1c2d8f3a1c2d8f3a1c2d8f3a1c2d",
          "startTimeUtc": "2026-11-21T11:50:01Z",
          "endTimeUtc": "2026-11-21T11:51:13Z",
          "createdTimeUtc": "2026-11-21T11:50:00Z",
          "tags": {
            "team": "blue"
          },
          "exit": {
            "reason": "completed",
            "code": 0,
            "signal": null,
            "message": "completed",
            "processExitCode": 0
          }
        }
        "#);
    }

    #[test]
    fn a_status_may_be_typed_in_any_case() {
        assert_eq!(status("running").unwrap(), "Running");
        assert_eq!(status("done").unwrap_err().exit(false), Exit::USAGE);
    }
}
