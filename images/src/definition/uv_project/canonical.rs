//! A project in the one form that the environment key is made of.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::{Project, local, table};
use crate::definition::DefinitionError;
use crate::definition::requirements::{CanonicalLine, requirement, without_credentials};
use crate::environment::UvProject;

/// Settings of uv that decide nothing of what is installed.
const IDLE: &[&str] =
    &["cache-dir", "cache-keys", "managed", "package", "publish-url", "dev-dependencies"];

/// Returns what determines the environment of a project, part by part.
///
/// The project's name and version, comments, white space and the order of tables and dependencies
/// are gone. What only a build or an upload of the project needs does not count.
pub(crate) fn canonical(
    project: &UvProject,
) -> Result<Vec<(&'static str, CanonicalLine)>, DefinitionError> {
    let project = Project::parse(project)?;
    let mut parts = Vec::new();
    let python = table(&project.pyproject, &["project"])
        .and_then(|project| project.get("requires-python")?.as_str());
    if let Some(python) = python {
        let python: String = python.split_whitespace().collect();
        parts.push(("requires python", CanonicalLine::plain(python)));
    }
    let dependencies: BTreeSet<String> =
        project.dependencies.iter().map(|one| without_credentials(&requirement(one))).collect();
    parts.extend(dependencies.into_iter().map(|one| ("dependency", CanonicalLine::plain(one))));
    let uv = table(&project.pyproject, &["tool", "uv"]);
    let mut settings: Vec<String> = Vec::new();
    for (name, value) in uv.into_iter().flatten() {
        if !IDLE.contains(&name.as_str()) {
            settings.push(format!("{name} = {}", one_form(value)));
        }
    }
    if uv.is_some_and(|uv| uv.contains_key("default-groups"))
        && let Some(groups) = project.pyproject.get("dependency-groups")
    {
        settings.push(format!("dependency-groups = {}", one_form(groups)));
    }
    settings.sort_unstable();
    parts.extend(settings.into_iter().map(|one| ("uv setting", CanonicalLine::plain(one))));
    if let Some(lock) = &project.lock {
        parts.push(("lock", of_lock(lock)));
    }
    Ok(parts)
}

/// Returns the digest of a lock, and the packages that are in it.
fn of_lock(lock: &Table) -> CanonicalLine {
    let mut lock = lock.clone();
    let mut packages = Vec::new();
    if let Some(Value::Array(listed)) = lock.get_mut("package") {
        for package in listed {
            if local::is_root(package)
                && let Value::Table(package) = package
            {
                package.remove("name");
                package.remove("version");
                continue;
            }
            let text = |key| package.get(key).and_then(Value::as_str).unwrap_or_default();
            packages.push(format!("{}=={}", text("name"), text("version")));
        }
    }
    CanonicalLine::digest(&one_form(&Value::Table(lock)), packages)
}

/// Returns a value as text that does not depend on how it was written.
fn one_form(value: &Value) -> String {
    match value {
        Value::Table(table) => {
            let mut entries: Vec<String> =
                table.iter().map(|(key, value)| format!("{key:?}: {}", one_form(value))).collect();
            entries.sort_unstable();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(one_form).collect();
            format!("[{}]", values.join(", "))
        }
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}
