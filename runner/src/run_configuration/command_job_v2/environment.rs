//! The environment of a v2 command job, inline or by name.

use super::super::reading::Section;
use super::super::{ConfigurationError, DockerChoice, EnvironmentChoice, Note, size};
use super::schema::{BUILD, ENVIRONMENT, check_keys};

/// Reads `environment` and what of `resources` belongs to a container.
pub(super) fn read(
    job: &Section<'_>,
    notes: &mut Vec<Note>,
) -> Result<EnvironmentChoice, ConfigurationError> {
    let choice = match job.field("environment") {
        None => EnvironmentChoice::Default,
        Some(field) => match field.value.text() {
            Some(name) => EnvironmentChoice::Named { name: name.to_owned(), version: None },
            None => inline(&job.section("environment")?)?,
        },
    };
    let resources = job.section("resources")?;
    match choice {
        EnvironmentChoice::Docker(docker) => {
            let arguments = resources.text("docker_args")?.unwrap_or_default();
            let arguments = arguments.split_whitespace().map(str::to_owned).collect();
            let shm_bytes = shm_bytes(&resources)?;
            Ok(EnvironmentChoice::Docker(DockerChoice { arguments, shm_bytes, ..docker }))
        }
        other => {
            for key in ["docker_args", "shm_size"] {
                if let Some(field) = resources.field(key) {
                    let why = "has no effect here: the environment is not a Docker image";
                    notes.push(resources.note(field, why));
                }
            }
            Ok(other)
        }
    }
}

fn shm_bytes(resources: &Section<'_>) -> Result<Option<u64>, ConfigurationError> {
    let Some(field) = resources.field("shm_size") else { return Ok(None) };
    let text = field.value.text().unwrap_or_default();
    size::parse_bytes(text).map(Some).map_err(|_| resources.wrong(field, "a size, such as 2g"))
}

fn inline(environment: &Section<'_>) -> Result<EnvironmentChoice, ConfigurationError> {
    check_keys(environment, ENVIRONMENT)?;
    let build = environment.section("build")?;
    check_keys(&build, BUILD)?;
    let conda = environment.field("conda_file");
    // Packages may be listed in place.
    let conda_file = conda
        .and_then(|field| field.value.text())
        .map(|file| environment.document.folder().join(file).components().collect());
    let image = environment.text("image")?;
    if image.is_some() || !build.is_empty() {
        let docker = DockerChoice { image, conda_file, ..DockerChoice::default() };
        return Ok(EnvironmentChoice::Docker(docker));
    }
    if conda.is_some() {
        return Ok(EnvironmentChoice::Conda { file: conda_file });
    }
    match environment.text("name")? {
        Some(name) => Ok(EnvironmentChoice::Named { name, version: environment.text("version")? }),
        None => Ok(EnvironmentChoice::Default),
    }
}
