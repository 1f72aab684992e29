//! The container of an environment: its image or Dockerfile, its registry, its options.

use std::path::{Path, PathBuf};

use super::super::reading::{Field, Section};
use super::super::{
    CondaChoice, ConfigurationError, DockerBaseChoice, DockerChoice, Note, PackagesChoice,
    Password, RegistryChoice, size,
};
use super::environment::Surroundings;
use super::schema;
use crate::container::ContainerOptions;

/// The Dockerfile beside an environment that the SDK saved.
const SAVED_FILE: &str = "BaseDockerfile";
/// What the SDK fills in where it is asked for no other image.
const DEFAULT_IMAGE: &str = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:20251130.v1";
/// Images that the SDK fills in begin like this.
const AZURE_IMAGES: &str = "mcr.microsoft.com/azureml/";

/// Tells whether the environment's image is to be built from a Dockerfile of its own.
pub(super) fn has_dockerfile(around: &Surroundings<'_>) -> Result<bool, ConfigurationError> {
    let docker = around.environment.section("docker")?;
    Ok(docker.field("baseDockerfile").is_some()
        || !docker.section("buildContext")?.is_empty()
        || saved_dockerfile(around).is_some())
}

fn saved_dockerfile(around: &Surroundings<'_>) -> Option<PathBuf> {
    let file = around.saved_in.as_ref()?.join(SAVED_FILE);
    file.is_file().then_some(file)
}

/// Reads what the container is made of.
pub(super) fn read(
    around: &Surroundings<'_>,
    conda: Option<CondaChoice>,
    interpreter: Option<String>,
    notes: &mut Vec<Note>,
) -> Result<DockerChoice, ConfigurationError> {
    let docker = around.environment.section("docker")?;
    let image = docker.text("baseImage")?;
    let built = dockerfile(around, &docker, notes)?;
    if let (Some(_), Some(image), Some(field)) = (&built, &image, docker.field("baseImage"))
        && !image.starts_with(AZURE_IMAGES)
    {
        notes.push(docker.note(field, "has no effect here: the image is built from a Dockerfile"));
    }
    let (registry, image) = registry(&docker, image, notes)?;
    let base = match (built, image) {
        (Some(built), _) => built,
        (None, Some(image)) => DockerBaseChoice::Image(image),
        (None, None) => {
            let key = format!("{}baseImage", docker.prefix());
            let text = format!("is not given: the SDK's own is used, {DEFAULT_IMAGE}");
            notes.push(Note { key, text, place: None });
            DockerBaseChoice::Image(DEFAULT_IMAGE.to_owned())
        }
    };
    let packages = conda.map(PackagesChoice::Conda);
    Ok(DockerChoice { base, packages, interpreter, platform: platform(&docker)?, registry })
}

/// Returns the Dockerfile: of a build context, in place, at a path, or beside the file.
fn dockerfile(
    around: &Surroundings<'_>,
    docker: &Section<'_>,
    notes: &mut Vec<Note>,
) -> Result<Option<DockerBaseChoice>, ConfigurationError> {
    let context = docker.section("buildContext")?;
    if !context.is_empty() {
        if let Some(field) = docker.field("baseDockerfile") {
            notes.push(docker.note(field, "has no effect here: buildContext has its own"));
        }
        return build_context(&context, &around.project).map(Some);
    }
    let Some(text) = docker.text("baseDockerfile")? else {
        let file = saved_dockerfile(around);
        return Ok(file.map(|file| DockerBaseChoice::Dockerfile { file, context: None }));
    };
    if is_dockerfile_text(&text) {
        return Ok(Some(DockerBaseChoice::DockerfileText(text)));
    }
    let file = around.project.join(text);
    if let (false, Some(field)) = (file.is_file(), docker.field("baseDockerfile")) {
        return Err(docker.wrong(field, "the text of a Dockerfile, or the path of one"));
    }
    Ok(Some(DockerBaseChoice::Dockerfile { file, context: None }))
}

/// The SDK takes both a text and a path. A path has no line break and no instruction's blank.
fn is_dockerfile_text(text: &str) -> bool {
    let word = text.split_whitespace().next().unwrap_or_default();
    text.trim().contains('\n') || (text.trim() != word && word.eq_ignore_ascii_case("from"))
}

fn build_context(
    context: &Section<'_>,
    project: &Path,
) -> Result<DockerBaseChoice, ConfigurationError> {
    let location = context.text("location")?.unwrap_or_default();
    let kind = context.text("locationType")?.unwrap_or_default().to_ascii_lowercase();
    let directory = project.join(location.strip_prefix("file://").unwrap_or(&location));
    if matches!(kind.as_str(), "" | "local") && !location.contains("://") || directory.is_dir() {
        let name = context.text("dockerfilePath")?.unwrap_or_else(|| "Dockerfile".to_owned());
        let file = directory.join(name);
        return Ok(DockerBaseChoice::Dockerfile { file, context: Some(directory) });
    }
    Ok(DockerBaseChoice::Remote(location))
}

/// Returns the user of the registry, and the image with the registry before it: Azure puts it
/// there, too.
fn registry(
    docker: &Section<'_>,
    image: Option<String>,
    notes: &mut Vec<Note>,
) -> Result<(Option<RegistryChoice>, Option<String>), ConfigurationError> {
    let section = docker.section("baseImageRegistry")?;
    if let Some(field) = section.field("registryIdentity")
        && !section.section("registryIdentity")?.fields().iter().all(|f| f.value.is_null())
    {
        let why = "has no effect here: there is no managed identity to log in with";
        notes.push(section.note(field, why));
    }
    let address = section.text("address")?;
    let username = section.text("username")?;
    let password = section.secret("password")?.map(Password);
    let image = match (&address, image) {
        (Some(address), Some(image)) => Some(with_registry(&section, address, image, notes)),
        (_, image) => image,
    };
    let Some(username) = username else {
        if let Some(field) = section.field("password") {
            notes.push(section.note(field, "has no effect here: there is no username"));
        }
        return Ok((None, image));
    };
    let of_image = || image.as_deref().and_then(registry_of).map(str::to_owned);
    let address = address.map(|address| host(&address).to_owned());
    let address = address.or_else(of_image).unwrap_or_else(|| "docker.io".to_owned());
    Ok((Some(RegistryChoice { address, username, password }), image))
}

fn with_registry(
    section: &Section<'_>,
    address: &str,
    image: String,
    notes: &mut Vec<Note>,
) -> String {
    let address = without_scheme(address);
    match registry_of(&image) {
        Some(own) if own == host(address) => image,
        Some(own) => {
            if let Some(field) = section.field("address") {
                let text = format!("is not where the image is, which says {own}: it stays there");
                notes.push(section.note(field, text));
            }
            image
        }
        None => format!("{address}/{image}"),
    }
}

fn without_scheme(address: &str) -> &str {
    let address = address.trim_end_matches('/');
    address.split_once("://").map_or(address, |(_, rest)| rest)
}

fn host(address: &str) -> &str {
    let address = without_scheme(address);
    address.split_once('/').map_or(address, |(host, _)| host)
}

/// Returns the registry that a reference to an image names.
fn registry_of(image: &str) -> Option<&str> {
    let (first, _) = image.split_once('/')?;
    (first.contains(['.', ':']) || first == "localhost").then_some(first)
}

fn platform(docker: &Section<'_>) -> Result<Option<String>, ConfigurationError> {
    let platform = docker.section("platform")?;
    let os = platform.text("os")?.unwrap_or_else(|| "Linux".to_owned()).to_ascii_lowercase();
    if let (true, Some(field)) = (os != "linux", platform.field("os")) {
        return Err(platform.wrong(field, "Linux, the one system of containers here"));
    }
    Ok(platform.text("architecture")?.map(|architecture| format!("{os}/{architecture}")))
}

/// Reads what is asked of the container besides. The newer section counts, key by key.
pub(super) fn options(
    around: &Surroundings<'_>,
    notes: &mut Vec<Note>,
) -> Result<ContainerOptions, ConfigurationError> {
    let older = around.environment.section("docker")?;
    let mut options = ContainerOptions::default();
    if let Some((section, _)) = newer(&around.run_docker, &older, "arguments", notes) {
        options.arguments = section.texts("arguments")?;
    }
    if let Some((section, field)) = newer(&around.run_docker, &older, "shmSize", notes) {
        let text = field.value.text().unwrap_or_default();
        let bytes = size::parse_bytes(text).map_err(|_| section.wrong(field, "a size, such as 2g"));
        options.shm_bytes = Some(bytes?);
    }
    if let Some((section, field)) = newer(&around.run_docker, &older, "sharedVolumes", notes)
        && section.truth("sharedVolumes")? == Some(false)
    {
        let why = "has no effect here: the container always works in the run's own directory, \
                   which is a copy of the source";
        notes.push(section.note(field, why));
    }
    Ok(options)
}

fn newer<'s, 'a>(
    newer: &'s Section<'a>,
    older: &'s Section<'a>,
    key: &str,
    notes: &mut Vec<Note>,
) -> Option<(&'s Section<'a>, &'s Field<'a>)> {
    match (newer.field(key), older.field(key)) {
        (Some(new), Some(old)) => {
            if !schema::same(new.value, old.value) && !schema::is_sdk_default(key, old.value) {
                let text = format!("has no effect here: {} counts", new.name);
                notes.push(older.note(old, text));
            }
            Some((newer, new))
        }
        (Some(new), None) => Some((newer, new)),
        (None, old) => Some((older, old?)),
    }
}
