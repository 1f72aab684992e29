//! What two runs are compared by, as names and values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use images::environment::{PreparedImage, RequirementsFile};
use serde::Serialize;
use snapshots::digest::Digest;

use crate::api::wire::run::Run;
use crate::terminal::measure;

/// Facts by name, in the order of the names.
pub(super) type Facts = BTreeMap<String, String>;

/// Returns what was asked for.
pub(super) fn params(run: &Run) -> Facts {
    let request = &run.request;
    let mut facts = Facts::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            facts.insert(name.to_owned(), value);
        }
    };
    put("experiment", Some(request.experiment.clone()));
    put("target", Some(request.target.clone()));
    put("script", request.script.clone());
    put("command", request.command.clone());
    let arguments = &request.arguments;
    put("arguments", (!arguments.is_empty()).then(|| format!("{arguments:?}")));
    put("timeout", request.timeout_seconds.map(|seconds| format!("{seconds} s")));
    put("retries", request.retry.as_ref().map(ToString::to_string));
    for (name, value) in &request.environment_variables.0 {
        put(&format!("env {name}"), Some(value.clone()));
    }
    for name in request.secrets.0.keys() {
        put(&format!("secret {name}"), Some("(not kept)".to_owned()));
    }
    for (name, value) in &request.tags {
        put(&format!("tag {name}"), Some(value.clone()));
    }
    facts
}

/// Returns what the script ran in, package by package.
pub(super) fn environment(run: &Run) -> Facts {
    let mut facts = Facts::from([("definition".to_owned(), run.summary.environment.clone())]);
    if let Some(prepared) = &run.prepared_environment {
        facts.insert("python".to_owned(), prepared.python_version.clone().unwrap_or_default());
        facts.insert("interpreter".to_owned(), prepared.interpreter.clone());
        facts.extend(prepared.image.iter().flat_map(image));
        if !prepared.lock.is_empty() {
            facts.insert("lock".to_owned(), lock(&prepared.lock));
        }
        facts.extend(prepared.packages.iter().map(|package| {
            let (name, version) = package.split_once("==").unwrap_or((package, "there"));
            (format!("package {name}"), version.to_owned())
        }));
    }
    facts
}

fn image(image: &PreparedImage) -> Vec<(String, String)> {
    let named = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut facts = vec![
        named("image", &image.reference),
        named("image id", &image.id),
        named("platform", &image.platform),
    ];
    facts.extend(image.digest.as_ref().map(|digest| named("image digest", digest)));
    facts.extend(image.base_digest.as_ref().map(|digest| named("base digest", digest)));
    facts
}

/// Tells one lock from another: `2 files, 5e1f20ab`. What it lists is told package by package.
fn lock(files: &[RequirementsFile]) -> String {
    let texts: Vec<_> = files.iter().map(|file| (&file.name, &file.text)).collect();
    let digest = Digest::of(format!("{texts:?}").as_bytes());
    format!("{}, {}", measure::count(files.len() as u64, "file"), digest.short(8))
}

/// Returns the last value of each metric.
pub(super) fn metrics(run: &Run) -> Facts {
    run.metrics
        .iter()
        .filter_map(|(name, points)| {
            let value = points.last()?.value;
            Some((name.clone(), value.map_or_else(|| "NaN".to_owned(), measure::number)))
        })
        .collect()
}

/// A fact that is not the same in both.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    name: String,
    /// `None` where there is no such fact.
    old: Option<String>,
    new: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.as_deref().unwrap_or("-").to_owned();
        write!(f, "  {}: {} → {}", self.name, shown(&self.old), shown(&self.new))
    }
}

/// Returns the facts that differ.
pub(super) fn differences(old: &Facts, new: &Facts) -> Vec<Difference> {
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| Difference {
            name: name.clone(),
            old: old.get(name).cloned(),
            new: new.get(name).cloned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::run_document;

    #[test]
    fn only_what_differs_is_told() {
        let old: Run = serde_json::from_value(run_document()).unwrap();
        let mut document = run_document();
        document["request"]["arguments"] = serde_json::json!(["--lr", "0.2"]);
        document["request"]["environmentVariables"] = serde_json::json!({"DEBUG": "1"});
        document["preparedEnvironment"]["packages"] = serde_json::json!(["numpy==2.4.6"]);
        document["preparedEnvironment"]["image"] = serde_json::json!({
            "id": "sha256:01", "reference": "python:3.11", "platform": "linux/amd64",
            "digest": "python@sha256:02", "baseDigest": "debian@sha256:03",
        });
        document["preparedEnvironment"]["lock"] =
            serde_json::json!([{"name": "requirements.lock", "text": "numpy==2.4.6"}]);
        document["metrics"]["loss"][1]["value"] = 0.25.into();
        let new: Run = serde_json::from_value(document).unwrap();

        let lines = [
            differences(&params(&old), &params(&new)),
            differences(&environment(&old), &environment(&new)),
            differences(&metrics(&old), &metrics(&new)),
        ];

        let lines: Vec<String> =
            lines.iter().flatten().map(|line| line.to_string().trim_start().to_owned()).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        arguments: ["--lr", "0.1"] → ["--lr", "0.2"]
        env DEBUG: - → 1
        env SEED: 1 → -
        base digest: - → debian@sha256:03
        image: - → python:3.11
        image digest: - → python@sha256:02
        image id: - → sha256:01
        lock: - → 1 file, 207edafc
        package numpy: - → 2.4.6
        platform: - → linux/amd64
        loss: 0.31 → 0.25
        "#);
        assert!(differences(&params(&old), &params(&old)).is_empty());
    }
}
