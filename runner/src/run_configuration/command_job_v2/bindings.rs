//! What `${{inputs.x}}` and `${{outputs.x}}` stand for.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::reading::{Field, Section};
use super::super::{ConfigurationError, Note, RunConfiguration};
use super::schema::{INPUT, OUTPUT, check_keys};
use super::shell_line::Value;

/// Types of data that are a directory; `uri_file` is the one that is not.
const DIRECTORIES: [&str; 5] =
    ["uri_folder", "mltable", "mlflow_model", "custom_model", "triton_model"];
const FILE: &str = "uri_file";

/// The values that a job's command can name.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    /// By name, as in `inputs.x`.
    values: BTreeMap<String, Value>,
    used: std::cell::RefCell<Vec<String>>,
    /// Directories below the outputs that must be there before the command starts.
    pub(super) directories: Vec<String>,
}

impl Bindings {
    /// Returns the value of `inputs.x` or `outputs.x`.
    pub(super) fn value(&self, name: &str) -> Result<Value, String> {
        match self.values.get(name) {
            Some(value) => {
                self.used.borrow_mut().push(name.to_owned());
                Ok(value.clone())
            }
            None if self.values.is_empty() => Err("the job has no inputs or outputs".to_owned()),
            None => {
                let known: Vec<_> = self.values.keys().map(String::as_str).collect();
                Err(format!("the job has only {}", known.join(", ")))
            }
        }
    }

    fn is_used(&self, name: &str) -> bool {
        self.used.borrow().iter().any(|used| used == name)
    }
}

/// Reads `inputs` and `outputs`.
///
/// A literal is its text as written. Data with a local path is that path, made absolute from the
/// job file: the script reads it where it lies. An output is a directory or file of the run's
/// `outputs/`, by its absolute path. Data in Azure is for [`not_yet`](fn@super::super::not_yet) to refuse; it has no value.
pub(super) fn read(
    job: &Section<'_>,
    configuration: &mut RunConfiguration,
    notes: &mut Vec<Note>,
) -> Result<Bindings, ConfigurationError> {
    let mut bindings = Bindings::default();
    let inputs = job.section("inputs")?;
    for field in inputs.fields() {
        check_name(&inputs, field)?;
        let value = input(&inputs, field, configuration, notes)?;
        bindings.values.insert(field.name.clone(), Value::Text(value));
    }
    let outputs = job.section("outputs")?;
    for field in outputs.fields() {
        let name = check_name(&outputs, field)?;
        if output_is_directory(&outputs, field, configuration, notes)? {
            bindings.directories.push(name.to_owned());
        }
        bindings.values.insert(field.name.clone(), Value::InOutputs(name.to_owned()));
    }
    Ok(bindings)
}

/// Names inputs and outputs that the command does not.
pub(super) fn note_unused(
    job: &Section<'_>,
    bindings: &Bindings,
    notes: &mut Vec<Note>,
) -> Result<(), ConfigurationError> {
    for section in [job.section("inputs")?, job.section("outputs")?] {
        for field in section.fields().iter().filter(|field| !bindings.is_used(&field.name)) {
            notes.push(section.note(field, "has no effect here: the command does not name it"));
        }
    }
    Ok(())
}

fn check_name<'a>(section: &Section<'_>, field: &Field<'a>) -> Result<&'a str, ConfigurationError> {
    let name = field.key.text().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.is_empty()
        && name.chars().all(plain)
        && !name.starts_with(|c: char| c.is_ascii_digit())
    {
        return Ok(name);
    }
    let text = format!("{}: a name is letters, digits and '_', not a digit first", field.name);
    Err(section.document.problem(field.key, text))
}

fn input(
    inputs: &Section<'_>,
    field: &Field<'_>,
    configuration: &mut RunConfiguration,
    notes: &mut Vec<Note>,
) -> Result<String, ConfigurationError> {
    if let Some(literal) = field.value.text() {
        return Ok(literal.to_owned());
    }
    if field.value.entries().is_none() {
        return Err(inputs.wrong(field, "a text, a number, true or false, or {type, path}"));
    }
    let data = inputs.open(field)?;
    check_keys(&data, INPUT)?;
    if let Some(value) = data.text("value")? {
        return Ok(value);
    }
    let Some(path) = data.text("path")? else {
        return Err(inputs.wrong(field, "a path"));
    };
    if is_remote(&path) {
        configuration.remote_data.push(format!("{} {path}", field.name));
        return Ok(path);
    }
    if let Some(mode) = data.field("mode")
        && !matches!(mode.value.text(), Some("ro_mount" | "direct"))
    {
        notes.push(data.note(mode, "has no effect here: the data is read where it lies"));
    }
    local_path(&data, &path)
}

/// Tells whether a path is one of Azure's or the web's.
fn is_remote(path: &str) -> bool {
    path.starts_with("azureml:") || (path.contains("://") && !path.starts_with("file://"))
}

fn local_path(data: &Section<'_>, path: &str) -> Result<String, ConfigurationError> {
    let path = path.strip_prefix("file://").unwrap_or(path);
    let kind = data.text("type")?.unwrap_or_else(|| DIRECTORIES[0].to_owned());
    let field = data.field("path").or_else(|| data.field("type"));
    let problem = |text: String| {
        let at = field.map_or(&data.document.root, |field| field.value);
        data.document.problem(at, text)
    };
    let full = tidy(&data.document.folder().join(path));
    let found = std::fs::metadata(&full)
        .map_err(|error| problem(format!("cannot find {}: {error}", full.display())))?;
    let (fits, expected) = match kind.as_str() {
        FILE => (found.is_file(), "file"),
        kind if DIRECTORIES.contains(&kind) => {
            (found.is_dir() || kind != DIRECTORIES[0], "directory")
        }
        _ => return Err(problem(format!("type {kind:?} is not a type of data with a path"))),
    };
    if !fits {
        return Err(problem(format!("{} is not a {expected}, as {kind} says", full.display())));
    }
    full.into_os_string().into_string().map_err(|_| {
        problem("the path to the job file is not UTF-8, so a command cannot name it".to_owned())
    })
}

/// Takes out the `.` components, which only make a path longer.
fn tidy(path: &Path) -> std::path::PathBuf {
    path.components().collect()
}

fn output_is_directory(
    outputs: &Section<'_>,
    field: &Field<'_>,
    configuration: &mut RunConfiguration,
    notes: &mut Vec<Note>,
) -> Result<bool, ConfigurationError> {
    let output = outputs.open(field)?;
    check_keys(&output, OUTPUT)?;
    if output.text("path")?.is_some() {
        configuration.remote_data.push(format!("{}.path", field.name));
    }
    for key in ["name", "version"] {
        if let Some(field) = output.field(key) {
            notes.push(output.note(field, "has no effect here: nothing is registered"));
        }
    }
    match output.text("type")?.as_deref() {
        None => Ok(true),
        Some(FILE) => Ok(false),
        Some(kind) if DIRECTORIES.contains(&kind) => Ok(true),
        Some(_) => match output.field("type") {
            Some(field) => Err(output.wrong(field, "a type of data, such as uri_folder")),
            None => Ok(true),
        },
    }
}
