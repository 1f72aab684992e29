//! Azure ML v2 command-job YAML.
//!
//! A key that is not of the schema is an error, as it is in Azure. `${{inputs.x}}` is replaced by
//! its value *quoted for the shell*, where Azure puts the bare text: a value with a space or a
//! `;` arrives as one argument. `${{outputs.x}}` is the absolute path of the run's `outputs/x`, a
//! directory made before the command starts, unless it is a file.

use std::path::{Path, PathBuf};

use super::reading::{Document, Section, Spelling};
use super::runconfig_v1::distribution::one_process;
use super::{
    ConfigurationError, Distribution, LOCAL_TARGET, Loaded, Note, RunConfiguration, own_keys,
};

mod bindings;
mod environment;
mod schema;
mod shell_line;
mod words;

use bindings::Bindings;
pub(super) use environment::read_file as read_environment;

/// Reads a parsed command job.
///
/// # Errors
///
/// A key is not known or has a value that it cannot have, or a placeholder stands for nothing.
pub(super) fn read(document: &Document) -> Result<Loaded, ConfigurationError> {
    let job = Section::root(document, "", Spelling::Exact)?;
    schema::check_keys(&job, schema::JOB)?;
    check_type(&job)?;
    let mut notes = Vec::new();
    let limits = job.section("limits")?;
    schema::check_keys(&limits, schema::LIMITS)?;
    let resources = job.section("resources")?;
    schema::check_keys(&resources, schema::RESOURCES)?;
    let (environment, container) = environment::read(&job, &mut notes)?;
    let mut configuration = RunConfiguration {
        target: target(&job)?,
        environment,
        container,
        environment_variables: job.map("environment_variables")?,
        experiment: job.text("experiment_name")?,
        display_name: job.text("display_name")?,
        description: job.text("description")?,
        tags: job.map("tags")?,
        properties: job.map("properties")?,
        timeout_seconds: limits.whole("timeout")?,
        services: job.section("services")?.fields().iter().map(|f| f.name.clone()).collect(),
        ..RunConfiguration::default()
    };
    own_keys::read(&job, &mut configuration)?;
    configuration.distribution = distribution(&job, &resources, &mut notes)?;
    let bindings = bindings::read(&job, &mut configuration, &mut notes)?;
    configuration.command = Some(command(&job, &bindings)?);
    bindings::note_unused(&job, &bindings, &mut notes)?;
    read_name(&job, &mut configuration, &mut notes)?;
    note_inert(&job, &resources, &mut notes);
    note_placeholders(&job, &mut notes)?;
    let source_directory = Some(source_directory(&job, &mut notes)?);
    Ok(Loaded { configuration, source_directory, notes })
}

fn check_type(job: &Section<'_>) -> Result<(), ConfigurationError> {
    match job.field("type") {
        Some(field) if field.value.text() != Some("command") => {
            Err(job.wrong(field, "command, the one type of job that is run here"))
        }
        _ => Ok(()),
    }
}

/// `local`, or the name of a compute target, with or without `azureml:` before it.
fn target(job: &Section<'_>) -> Result<String, ConfigurationError> {
    let compute = job.text("compute")?.unwrap_or_else(|| LOCAL_TARGET.to_owned());
    Ok(compute.strip_prefix("azureml:").unwrap_or(&compute).to_owned())
}

fn command(job: &Section<'_>, bindings: &Bindings) -> Result<String, ConfigurationError> {
    let Some(field) = job.field("command") else {
        let text = "command: expected a command, found nothing";
        return Err(job.document.problem(&job.document.root, text));
    };
    let line = job.text("command")?.unwrap_or_default();
    let filled = shell_line::fill_in(&line, |name| bindings.value(name)).map_err(|refused| {
        let text = format!("command: {} cannot be filled in: {}", refused.placeholder, refused.why);
        job.document.problem(field.value, text)
    })?;
    if bindings.directories.is_empty() {
        return Ok(filled);
    }
    // A line of its own, so that nothing of the command reads it as its part.
    let paths: Vec<_> = bindings
        .directories
        .iter()
        .map(|name| format!("\"${}\"/{name}", shell_line::OUTPUTS_VARIABLE))
        .collect();
    Ok(format!("mkdir -p {} || exit\n{filled}", paths.join(" ")))
}

/// Reads how many processes are asked for; one is what a command is by itself.
fn distribution(
    job: &Section<'_>,
    resources: &Section<'_>,
    notes: &mut Vec<Note>,
) -> Result<Option<Distribution>, ConfigurationError> {
    let section = job.section("distribution")?;
    schema::check_keys(&section, schema::DISTRIBUTION)?;
    let nodes = resources.whole("instance_count")?.unwrap_or(1);
    let Some(field) = section.field("type") else {
        return Ok((nodes > 1).then(|| Distribution {
            launcher: "python".to_owned(),
            node_count: nodes,
            process_count: None,
        }));
    };
    let known = ["mpi", "pytorch", "tensorflow", "ray"];
    let Some(launcher) = field.value.text().filter(|kind| known.contains(kind)) else {
        return Err(section.wrong(field, "mpi, pytorch, tensorflow or ray"));
    };
    let processes = match launcher {
        "tensorflow" => {
            let workers = section.whole("worker_count")?.unwrap_or(1);
            workers.saturating_add(section.whole("parameter_server_count")?.unwrap_or(0))
        }
        _ => section.whole("process_count_per_instance")?.unwrap_or(1).saturating_mul(nodes),
    };
    if processes <= 1 && nodes <= 1 && launcher != "ray" {
        notes.push(section.note(field, one_process(launcher)));
        return Ok(None);
    }
    let launcher = launcher.to_owned();
    Ok(Some(Distribution { launcher, node_count: nodes, process_count: Some(processes) }))
}

/// In Azure `name` is the run's id, which is made up here.
fn read_name(
    job: &Section<'_>,
    configuration: &mut RunConfiguration,
    notes: &mut Vec<Note>,
) -> Result<(), ConfigurationError> {
    let Some(field) = job.field("name") else { return Ok(()) };
    if configuration.display_name.is_none() {
        configuration.display_name = job.text("name")?;
        notes.push(job.note(field, "is used as the display name: every run gets an id of its own"));
    } else {
        notes.push(job.note(field, "has no effect here: every run gets an id of its own"));
    }
    Ok(())
}

fn note_inert(job: &Section<'_>, resources: &Section<'_>, notes: &mut Vec<Note>) {
    let inert = [
        (job, "identity", "the script runs with your rights on this machine"),
        (job, "queue_settings", "runs start in the order they were submitted"),
        (resources, "instance_type", "the run is on this machine"),
        (resources, "properties", "the run is on this machine"),
    ];
    for (section, key, why) in inert {
        if let Some(field) = section.field(key) {
            notes.push(section.note(field, format!("has no effect here: {why}")));
        }
    }
}

/// A placeholder is filled in in the command only.
fn note_placeholders(job: &Section<'_>, notes: &mut Vec<Note>) -> Result<(), ConfigurationError> {
    let variables = job.section("environment_variables")?;
    for field in variables.fields() {
        if field.value.text().is_some_and(|text| text.contains("${{")) {
            notes.push(variables.note(field, "is set as written: only the command is filled in"));
        }
    }
    Ok(())
}

/// Returns the folder that `code` names, else the one the job file is in.
fn source_directory(
    job: &Section<'_>,
    notes: &mut Vec<Note>,
) -> Result<PathBuf, ConfigurationError> {
    let folder = job.document.folder();
    let Some(field) = job.field("code") else {
        let text = "is not given: the source directory is the folder of the job file";
        notes.push(Note { key: "code".to_owned(), text: text.to_owned(), place: None });
        return Ok(folder);
    };
    let code = job.text("code")?.unwrap_or_default();
    if code.starts_with("azureml:") || code.contains("://") {
        return Err(job.wrong(field, "a folder on this machine"));
    }
    Ok(Path::new(&folder).join(code).components().collect())
}
