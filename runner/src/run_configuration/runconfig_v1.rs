//! Azure ML SDK v1 `.runconfig` files, as the SDK writes them.
//!
//! Keys may be in camelCase, snake_case or TitleCase. Each key of the schema has its effect here,
//! or is refused by [`not_yet`](fn@super::not_yet), or is named in a [`Note`] where it differs from what the
//! SDK writes by itself; a key that is not of the schema is named, too.

use std::path::{Path, PathBuf};

use super::environment_file::{LoadedEnvironment, SAVED_ENVIRONMENT};
use super::load::read_document;
use super::reading::{Document, Section, Spelling};
use super::{ConfigurationError, Loaded, Note, RunConfiguration, own_keys};

pub(super) mod distribution;
mod docker;
mod environment;
mod legacy;
mod packages;
mod schema;

use environment::Surroundings;

/// Directories that hold run configurations; the project is the folder above.
pub(super) const SETTINGS_DIRECTORIES: [&str; 2] = [".azureml", "aml_config"];

/// Reads a parsed run configuration.
///
/// # Errors
///
/// A key has a value that it cannot have, or the environment file it names cannot be read.
pub(super) fn read(document: &Document) -> Result<Loaded, ConfigurationError> {
    let run = Section::root(document, "", Spelling::Any)?;
    let project = project(document);
    let mut notes = Vec::new();
    let mut configuration = RunConfiguration {
        target: run.text("target")?.unwrap_or_else(|| super::LOCAL_TARGET.to_owned()),
        timeout_seconds: run.whole("maxRunDurationSeconds")?,
        display_name: run.text("jobName")?,
        priority: priority(&run)?,
        remote_data: remote_data(&run)?,
        services: names_below(&run, "applicationEndpoints")?,
        ..RunConfiguration::default()
    };
    own_keys::read(&run, &mut configuration)?;
    read_program(&run, &mut configuration, &mut notes)?;
    let file = environment_file(&run, &project)?;
    let section = match &file {
        Some(file) => Section::root(file, "environment.", Spelling::Any)?,
        None => run.section("environment")?,
    };
    let around = Surroundings {
        environment: section,
        run_docker: run.section("docker")?,
        saved_in: file.as_ref().and_then(saved_in),
        project: file.as_ref().and_then(saved_in).unwrap_or_else(|| project.clone()),
    };
    let docker = environment::uses_docker(&around, &mut notes)?;
    configuration.environment = environment::read(&around, docker, &mut notes)?;
    if docker {
        configuration.container = docker::options(&around, &mut notes)?;
    }
    let section = around.environment;
    configuration.environment_variables = environment::variables(&section)?;
    configuration.environment_variables.extend(run.map("environmentVariables")?);
    let launcher = distribution::launcher(&run)?;
    configuration.distribution = distribution::read(&run, launcher, &mut notes)?;
    if run.written("environment").is_none() {
        legacy::read(&run, &project, &mut configuration, &mut notes)?;
    } else if section.is_empty() {
        note_empty_environment(&run, &mut notes);
    }
    let facts = schema::Facts { docker, launcher };
    schema::note_keys(&run, schema::RUN, &facts, &mut notes)?;
    schema::note_keys(&section, schema::ENVIRONMENT, &facts, &mut notes)?;
    note_watched_directories(&run, &mut notes)?;
    note_version(&section, &mut notes);
    Ok(Loaded { configuration, source_directory: Some(project), notes })
}

/// Reads a parsed environment file: `environment.yml` beside a run configuration, or the
/// `azureml_environment.json` of a folder that the SDK saved an environment in.
///
/// # Errors
///
/// As [`read`].
pub(super) fn read_environment(
    document: &Document,
) -> Result<LoadedEnvironment, ConfigurationError> {
    let saved_in = saved_in(document);
    let around = Surroundings {
        environment: Section::root(document, "", Spelling::Any)?,
        run_docker: Section::nothing(document),
        project: saved_in.clone().unwrap_or_else(|| project(document)),
        saved_in,
    };
    let mut notes = Vec::new();
    let docker = environment::uses_docker(&around, &mut notes)?;
    let choice = environment::read(&around, docker, &mut notes)?;
    let container = docker.then(|| docker::options(&around, &mut notes)).transpose()?;
    let facts = schema::Facts { docker, launcher: None };
    schema::note_keys(&around.environment, schema::ENVIRONMENT, &facts, &mut notes)?;
    note_version(&around.environment, &mut notes);
    let variables = environment::variables(&around.environment)?;
    Ok(LoadedEnvironment { choice, container: container.unwrap_or_default(), variables, notes })
}

/// Returns the folder that the SDK saved an environment in, if the file is one of such a folder.
fn saved_in(document: &Document) -> Option<PathBuf> {
    let is_saved = document.path.file_name().is_some_and(|name| name == SAVED_ENVIRONMENT);
    is_saved.then(|| document.folder())
}

/// Returns the folder above `.azureml` or `aml_config`, else the one the file is in.
fn project(document: &Document) -> PathBuf {
    let folder = document.folder();
    let inside = SETTINGS_DIRECTORIES.iter().any(|name| folder.ends_with(name));
    match folder.parent() {
        Some(above) if inside => above.to_owned(),
        _ => folder,
    }
}

fn read_program(
    run: &Section<'_>,
    configuration: &mut RunConfiguration,
    notes: &mut Vec<Note>,
) -> Result<(), ConfigurationError> {
    configuration.script = run.text("script")?.filter(|script| !script.is_empty());
    configuration.arguments = run.texts("arguments")?;
    configuration.command = match run.field("command") {
        // The SDK joins a list with spaces and quotes nothing.
        Some(field) if field.value.items().is_some() => Some(run.texts("command")?.join(" ")),
        _ => run.text("command")?,
    }
    .filter(|command| !command.is_empty());
    if let (Some(_), Some(field)) = (&configuration.command, run.field("arguments"))
        && configuration.script.is_none()
        && !configuration.arguments.is_empty()
    {
        configuration.arguments.clear();
        notes.push(run.note(field, "has no effect here: the command is run as it is"));
    }
    if let Some(field) = run.field("arguments")
        && configuration.arguments.iter().any(|argument| names_a_variable(argument))
    {
        let text = "reach the script as written: no variable in them is replaced by its value";
        notes.push(run.note(field, text));
    }
    Ok(())
}

/// Tells whether a text has a `$NAME` or `${NAME}` in it.
fn names_a_variable(text: &str) -> bool {
    text.split('$').skip(1).any(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    })
}

fn priority(run: &Section<'_>) -> Result<i32, ConfigurationError> {
    let Some(field) = run.field("priority") else { return Ok(0) };
    let text = field.value.text().unwrap_or_default();
    text.parse().map_err(|_| run.wrong(field, "a whole number"))
}

/// Names the data that lies in Azure, and the placeholders in arguments that stand for it.
fn remote_data(run: &Section<'_>) -> Result<Vec<String>, ConfigurationError> {
    let mut data = Vec::new();
    for key in ["dataReferences", "data", "outputData"] {
        data.extend(names_below(run, key)?);
    }
    if let Some(field) = run.field("datacaches") {
        let items = field.value.items().ok_or_else(|| run.wrong(field, "a list"))?;
        data.extend((0..items.len()).map(|n| format!("datacaches[{n}]")));
    }
    let placeholder = |text: &str| {
        text.starts_with("DatasetConsumptionConfig:") || text.starts_with("DatasetOutputConfig:")
    };
    data.extend(run.texts("arguments")?.into_iter().filter(|argument| placeholder(argument)));
    Ok(data)
}

fn names_below(run: &Section<'_>, key: &str) -> Result<Vec<String>, ConfigurationError> {
    Ok(run.section(key)?.fields().iter().map(|field| field.name.clone()).collect())
}

/// Reads the file that `environment` names, if it is a path and not a mapping.
fn environment_file(
    run: &Section<'_>,
    project: &Path,
) -> Result<Option<Document>, ConfigurationError> {
    let Some(field) = run.field("environment") else { return Ok(None) };
    let Some(path) = field.value.text() else { return Ok(None) };
    match read_document(&project.join(path), path.as_ref()) {
        Ok(document) => Ok(Some(document)),
        Err(error @ ConfigurationError::Content { .. }) => Err(error),
        // The place that names the file is more use than the file's name alone.
        Err(ConfigurationError::Read { source, .. }) => {
            let text = format!("environment: cannot read {path:?}: {source}");
            Err(run.document.problem(field.value, text))
        }
        Err(error) => Err(run.document.problem(field.value, format!("environment: {error}"))),
    }
}

fn note_empty_environment(run: &Section<'_>, notes: &mut Vec<Note>) {
    if let Some(field) = run.written("environment") {
        notes.push(run.note(field, "is empty: the project's own environment is used"));
    }
}

/// A version counts where the environment is only named.
fn note_version(environment: &Section<'_>, notes: &mut Vec<Note>) {
    if let Some(field) = environment.field("version")
        && !environment::is_reference(environment)
    {
        let text = "has no effect here: it is the definition that counts";
        notes.push(environment.note(field, text));
    }
}

fn note_watched_directories(
    run: &Section<'_>,
    notes: &mut Vec<Note>,
) -> Result<(), ConfigurationError> {
    let history = run.section("history")?;
    let others: Vec<String> = history
        .texts("directoriesToWatch")?
        .into_iter()
        .filter(|name| {
            !matches!(name.trim_start_matches("./").trim_end_matches('/'), "logs" | "outputs")
        })
        .collect();
    if let Some(field) = history.field("directoriesToWatch")
        && !others.is_empty()
    {
        let names = others.join(", ");
        let text = format!("keeps nothing of {names}: what is kept of a run is outputs and logs");
        notes.push(history.note(field, text));
    }
    Ok(())
}
