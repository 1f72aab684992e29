//! The environment of a v2 command job, inline, by name or in a file of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::environment_file::LoadedEnvironment;
use super::super::load::read_document;
use super::super::reading::{Document, Field, Section, Spelling};
use super::super::{
    CondaChoice, ConfigurationError, DockerBaseChoice, DockerChoice, EnvironmentChoice, Note,
    PackagesChoice, size,
};
use super::schema::{BUILD, ENVIRONMENT, check_keys};
use super::words;
use crate::container::ContainerOptions;

/// Reads `environment` and what of `resources` belongs to a container.
pub(super) fn read(
    job: &Section<'_>,
    notes: &mut Vec<Note>,
) -> Result<(EnvironmentChoice, ContainerOptions), ConfigurationError> {
    let choice = match job.field("environment") {
        None => EnvironmentChoice::Default,
        Some(field) => match field.value.text() {
            Some(text) => named_or_file(job, field, text, notes)?,
            None => inline(&job.section("environment")?, notes)?,
        },
    };
    let resources = job.section("resources")?;
    // What a registered environment is, is not known yet.
    if matches!(choice, EnvironmentChoice::Docker(_) | EnvironmentChoice::Named { .. }) {
        let options =
            ContainerOptions { arguments: arguments(&resources)?, shm_bytes: shm(&resources)? };
        return Ok((choice, options));
    }
    for key in ["docker_args", "shm_size"] {
        if let Some(field) = resources.field(key) {
            let why = "has no effect here: the environment is not a Docker image";
            notes.push(resources.note(field, why));
        }
    }
    Ok((choice, ContainerOptions::default()))
}

/// Reads a v2 environment YAML.
pub(in super::super) fn read_file(
    document: &Document,
) -> Result<LoadedEnvironment, ConfigurationError> {
    let mut notes = Vec::new();
    let choice = inline(&Section::root(document, "", Spelling::Exact)?, &mut notes)?;
    let (container, variables) = (ContainerOptions::default(), BTreeMap::new());
    Ok(LoadedEnvironment { choice, container, variables, notes })
}

fn named_or_file(
    job: &Section<'_>,
    field: &Field<'_>,
    text: &str,
    notes: &mut Vec<Note>,
) -> Result<EnvironmentChoice, ConfigurationError> {
    let path = text.strip_prefix("file://").or_else(|| text.strip_prefix("file:"));
    let is_yaml = Path::new(text).extension().is_some_and(|ext| ext == "yml" || ext == "yaml");
    let path = match path {
        Some(path) => path,
        None if is_yaml && !text.starts_with("azureml:") => text,
        None => return Ok(EnvironmentChoice::named(text)),
    };
    let place = job.document.folder().join(path);
    let document = match read_document(&place, path.as_ref()) {
        Ok(document) => document,
        Err(error @ ConfigurationError::Content { .. }) => return Err(error),
        Err(ConfigurationError::Read { source, .. }) => {
            let text = format!("environment: cannot read {path:?}: {source}");
            return Err(job.document.problem(field.value, text));
        }
        Err(error) => {
            return Err(job.document.problem(field.value, format!("environment: {error}")));
        }
    };
    let loaded = read_file(&document)?;
    notes.extend(loaded.notes);
    Ok(loaded.choice)
}

fn arguments(resources: &Section<'_>) -> Result<Vec<String>, ConfigurationError> {
    let Some(field) = resources.field("docker_args") else { return Ok(Vec::new()) };
    if field.value.items().is_some() {
        return resources.texts("docker_args");
    }
    let line = resources.text("docker_args")?.unwrap_or_default();
    words::split(&line).ok_or_else(|| resources.wrong(field, "words, with every quote closed"))
}

fn shm(resources: &Section<'_>) -> Result<Option<u64>, ConfigurationError> {
    let Some(field) = resources.field("shm_size") else { return Ok(None) };
    let text = field.value.text().unwrap_or_default();
    size::parse_bytes(text).map(Some).map_err(|_| resources.wrong(field, "a size, such as 2g"))
}

fn inline(
    environment: &Section<'_>,
    notes: &mut Vec<Note>,
) -> Result<EnvironmentChoice, ConfigurationError> {
    check_keys(environment, ENVIRONMENT)?;
    let conda = conda(environment)?;
    let image = environment.text("image")?;
    let build = environment.field("build");
    if let (Some(_), Some(field)) = (&image, build) {
        let text = format!("{}: there is an image already; keep one of the two", field.name);
        return Err(environment.document.problem(field.key, text));
    }
    let base = match (image, build) {
        (Some(image), _) => Some(DockerBaseChoice::Image(image)),
        (None, Some(field)) => Some(build_context(environment, field)?),
        (None, None) => None,
    };
    let choice = match (base, conda) {
        (Some(base), conda) => {
            let packages = conda.map(PackagesChoice::Conda);
            EnvironmentChoice::Docker(Box::new(DockerChoice { packages, ..DockerChoice::of(base) }))
        }
        (None, Some(conda)) => EnvironmentChoice::Conda(conda),
        (None, None) => {
            return Ok(match environment.text("name")? {
                Some(name) => {
                    EnvironmentChoice::Named { name, version: environment.text("version")? }
                }
                None => EnvironmentChoice::Default,
            });
        }
    };
    note_inert(environment, notes)?;
    Ok(choice)
}

/// Packages may be listed in place.
fn conda(environment: &Section<'_>) -> Result<Option<CondaChoice>, ConfigurationError> {
    let Some(field) = environment.field("conda_file") else { return Ok(None) };
    if field.value.entries().is_some() {
        let place = environment.document.path.clone();
        return Ok(Some(CondaChoice::Listed { text: field.value.to_yaml(), place }));
    }
    let Some(file) = field.value.text() else {
        return Err(environment.wrong(field, "a conda file, or what is in one"));
    };
    Ok(Some(CondaChoice::File(local(environment, file))))
}

fn build_context(
    environment: &Section<'_>,
    field: &Field<'_>,
) -> Result<DockerBaseChoice, ConfigurationError> {
    let build = environment.open(field)?;
    check_keys(&build, BUILD)?;
    let path = build.text("path")?.unwrap_or_else(|| ".".to_owned());
    if path.starts_with("azureml:") || (path.contains("://") && !path.starts_with("file://")) {
        return Ok(DockerBaseChoice::Remote(path));
    }
    let directory = local(environment, &path);
    let name = build.text("dockerfile_path")?.unwrap_or_else(|| "Dockerfile".to_owned());
    Ok(DockerBaseChoice::Dockerfile { file: directory.join(name), context: Some(directory) })
}

/// Returns a path relative to the file that names it.
fn local(environment: &Section<'_>, path: &str) -> PathBuf {
    let path = path.strip_prefix("file://").unwrap_or(path);
    environment.document.folder().join(path).components().collect()
}

/// Names what only a registry of environments has a use for.
fn note_inert(environment: &Section<'_>, notes: &mut Vec<Note>) -> Result<(), ConfigurationError> {
    let registered = "has no effect here: the environment is not registered";
    let inert = [
        ("version", registered),
        ("description", registered),
        ("tags", registered),
        ("properties", registered),
        ("inference_config", "has no effect here: nothing is deployed"),
    ];
    for (key, why) in inert {
        if let Some(field) = environment.field(key) {
            notes.push(environment.note(field, why));
        }
    }
    if let Some(field) = environment.field("os_type")
        && !environment.text("os_type")?.is_some_and(|os| os.eq_ignore_ascii_case("linux"))
    {
        return Err(environment.wrong(field, "linux, the one system of containers here"));
    }
    Ok(())
}
