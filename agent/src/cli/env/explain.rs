//! `trainyard env explain`: what a key is made of, and what differs between two.

use std::fmt::Write;

use images::cache::{EnvironmentCache, EnvironmentError};
use images::environment::Environment;
use images::key::{KeyDifference, KeyParts};
use serde::Serialize;
use snapshots::store::local::LocalStore;

use super::asked::{self, Change};
use crate::cli::context::SCHEMA_VERSION;
use crate::cli::{Context, Exit, Failure, Outcome};
use crate::client::Start;
use crate::terminal::Plain;
use crate::workspace::Workspace;

/// Says what an environment's key is made of, and what differs between two
///
/// The key is the SHA-256 of all its parts. Two environments with the same parts are the same.
/// Nothing is built or pulled.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  trainyard env explain requirements.txt
  trainyard env explain requirements.txt @")]
pub(in crate::cli) struct Args {
    /// A key or a unique beginning of one, a run, a file, or a registered or curated name
    #[arg(value_name = "ENVIRONMENT")]
    first: String,
    /// What to compare it with: the same
    #[arg(value_name = "ENVIRONMENT")]
    second: Option<String>,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// What is known of the key of what was named.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    /// What was named.
    what: String,
    /// Whether it can be used without building.
    built: bool,
    /// Why it has no parts, if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
    #[serde(flatten)]
    parts: Option<KeyParts>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    schema_version: u32,
    first: &'a Told,
    #[serde(skip_serializing_if = "Option::is_none")]
    second: Option<&'a Told>,
    #[serde(skip_serializing_if = "Option::is_none")]
    differences: Option<&'a [KeyDifference]>,
}

/// Explains one key, or what differs between two.
pub(super) fn explain(args: &Args, context: &Context) -> Outcome {
    let workspace = context.workspace()?;
    let (cache, store) = super::open(context, &workspace)?;
    let here = Here { context, workspace: &workspace, cache: &cache, store: &store };
    let first = here.told(&args.first)?;
    let second = args.second.as_deref().map(|text| here.told(text)).transpose()?;
    let differences = second.as_ref().map(|second| differences(&first, second)).transpose()?;
    if args.json {
        context.print_json(&Document {
            schema_version: SCHEMA_VERSION,
            first: &first,
            second: second.as_ref(),
            differences: differences.as_deref(),
        })?;
    } else {
        let text = match (&second, &differences) {
            (Some(second), Some(differences)) => compared(&first, second, differences),
            _ => page(&first),
        };
        context.print(text)?;
    }
    Ok(Exit::OK)
}

/// Where what was named is looked for.
struct Here<'a> {
    context: &'a Context,
    workspace: &'a Workspace,
    cache: &'a EnvironmentCache,
    store: &'a LocalStore,
}

impl Here<'_> {
    /// Finds what `text` names: a key, a run, then a definition.
    fn told(&self, text: &str) -> Result<Told, Failure> {
        let is_file = std::path::Path::new(text).exists();
        if !is_file && let Some(told) = self.of_key(text)? {
            return Ok(told);
        }
        if !is_file && let Some(told) = self.of_run(text)? {
            return Ok(told);
        }
        let change = Change::default();
        let (chosen, _) =
            asked::choose(Some(text), &change, self.context, self.workspace, self.store)?;
        self.of_environment(chosen.name, &chosen.environment)
    }

    fn of_key(&self, text: &str) -> Result<Option<Told>, Failure> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let details = match self.cache.show(text) {
            Ok(details) => details,
            Err(EnvironmentError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let note = details.parts.is_none().then_some(BEFORE);
        let what = format!("{} {}", details.entry.definition, details.entry.key.short());
        Ok(Some(Told { what, built: true, note, parts: details.parts }))
    }

    fn of_run(&self, text: &str) -> Result<Option<Told>, Failure> {
        let (client, _) = self.context.agent(Start::IfNone)?;
        let found = self.context.wait_for(async { Ok(client.run(text).await?) });
        // What names no run may name something else; that is said then.
        let Ok(run) = found else { return Ok(None) };
        let name = &run.summary.display_name;
        let key = run.prepared_environment.as_ref().and_then(|it| it.key.clone());
        if let Some(key) = key
            && let Some(told) = self.of_key(&key)?
        {
            return Ok(Some(Told { what: format!("{} of {name}", told.what), ..told }));
        }
        let what = format!("{} of {name}", run.summary.environment);
        self.of_environment(what, &run.request.environment).map(Some)
    }

    fn of_environment(&self, what: String, environment: &Environment) -> Result<Told, Failure> {
        let explained = self.cache.explain(environment)?;
        let note = match (&explained.parts, environment) {
            (Some(_), _) => None,
            (None, Environment::Docker { .. }) if !explained.built => Some(NOT_HERE),
            (None, _) => Some(NOTHING_BUILT),
        };
        Ok(Told { what, built: explained.built, note, parts: explained.parts })
    }
}

const BEFORE: &str = "it was built by an older version, which did not keep the parts of its key";
const NOT_HERE: &str =
    "its image is not here yet, and its digest is part of the key: `trainyard env build` pulls it";
const NOTHING_BUILT: &str = "it is used as it is: nothing is built, so it has no key";

fn differences(first: &Told, second: &Told) -> Result<Vec<KeyDifference>, Failure> {
    match (&first.parts, &second.parts) {
        (Some(one), Some(other)) => Ok(one.compare(other)),
        _ => {
            let told = if first.parts.is_none() { first } else { second };
            let note = told.note.unwrap_or(NOTHING_BUILT);
            Err(Failure::failed(format!("{} cannot be compared: {note}", told.what)))
        }
    }
}

fn line(text: &mut String, given: &str) {
    writeln!(text, "{}", Plain(given)).expect("a string takes every text");
}

fn page(told: &Told) -> String {
    let mut text = String::new();
    let built = if told.built { "built" } else { "not built" };
    let Some(parts) = &told.parts else {
        line(&mut text, &format!("{}: {}", told.what, told.note.unwrap_or(NOTHING_BUILT)));
        return text;
    };
    line(&mut text, &format!("{} ({built})", told.what));
    line(&mut text, &format!("key {}", parts.key));
    let width = parts.parts.iter().map(|part| part.name.len()).max().unwrap_or_default();
    for part in &parts.parts {
        line(&mut text, &format!("  {:<width$}  {}", part.name, part.value));
        for inside in &part.contains {
            line(&mut text, &format!("  {:<width$}    {inside}", ""));
        }
    }
    text
}

fn compared(first: &Told, second: &Told, differences: &[KeyDifference]) -> String {
    let mut text = String::new();
    line(&mut text, &format!("- {}", first.what));
    line(&mut text, &format!("+ {}", second.what));
    if differences.is_empty() {
        line(&mut text, "the same: every part of the key is");
    }
    for difference in differences {
        line(&mut text, &difference.name);
        for value in &difference.only_first {
            line(&mut text, &format!("  - {value}"));
        }
        for value in &difference.only_second {
            line(&mut text, &format!("  + {value}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(what: &str, python: &str, lines: &[&str]) -> Told {
        let mut parts = vec![serde_json::json!({"name": "python", "value": python})];
        parts.push(serde_json::json!({"name": "line", "value": "-r 00", "contains": lines}));
        let parts = serde_json::json!({"key": "5e1f20ab".repeat(8), "parts": parts});
        let parts = serde_json::from_value(parts).unwrap();
        Told { what: what.to_owned(), built: true, note: None, parts: Some(parts) }
    }

    #[test]
    fn a_key_is_told_part_by_part() {
        insta::assert_snapshot!(page(&told("requirements.txt", "3.11.2", &["six"])), @r#"
        requirements.txt (built)
        key 5e1f20ab5e1f20ab5e1f20ab5e1f20ab5e1f20ab5e1f20ab5e1f20ab5e1f20ab
          python  3.11.2
          line    -r 00
                    six
        "#);
    }

    #[test]
    fn two_keys_are_told_by_what_differs() {
        let first = told("requirements.txt", "3.11.2", &["six", "numpy==1"]);
        let second = told("requirements.txt of swift-otter-12", "3.12.0", &["six", "numpy==2"]);

        let found = differences(&first, &second).unwrap();
        insta::assert_snapshot!(compared(&first, &second, &found), @r#"
        - requirements.txt
        + requirements.txt of swift-otter-12
        python
          - 3.11.2
          + 3.12.0
        line
          - numpy==1
          + numpy==2
        "#);
        let same = differences(&first, &first).unwrap();
        assert!(compared(&first, &first, &same).ends_with("the same: every part of the key is\n"));
    }

    #[test]
    fn what_has_no_key_says_why() {
        let none = Told {
            what: "/usr/bin/python3".to_owned(),
            built: true,
            note: Some(NOTHING_BUILT),
            parts: None,
        };
        assert!(page(&none).contains("nothing is built"));
        let failure = differences(&told("a", "3", &[]), &none).unwrap_err();
        assert!(failure.message().unwrap().starts_with("/usr/bin/python3 cannot be compared"));
    }

    #[test]
    fn the_json_begins_with_its_version() {
        let first = told("a", "3", &[]);
        let document =
            Document { schema_version: 1, first: &first, second: None, differences: None };
        let text = serde_json::to_string(&document).unwrap();
        assert!(
            text.starts_with(r#"{"schemaVersion":1,"first":{"what":"a","built":true,"key""#),
            "{text}"
        );
    }
}
