//! The environment of a run configuration: Python's two ways, and Docker's two switches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::reading::Section;
use super::super::{ConfigurationError, DockerChoice, EnvironmentChoice, Note, size};

/// The variable that every environment has that the SDK made up.
const EXAMPLE: (&str, &str) = ("EXAMPLE_ENV_VAR", "EXAMPLE_VALUE");

/// Decides between the run's switch and the environment's.
///
/// The SDK says that the run's wins, which is the newer one; a note says so where they differ,
/// as they do in the files that `az ml folder attach` made.
pub(super) fn uses_docker(
    run: &Section<'_>,
    environment: &Section<'_>,
    notes: &mut Vec<Note>,
) -> Result<bool, ConfigurationError> {
    let docker = run.section("docker")?;
    let ours = docker.truth("useDocker")?;
    let theirs = environment.section("docker")?.truth("enabled")?;
    if let (Some(ours), Some(theirs), Some(field)) = (ours, theirs, docker.field("useDocker"))
        && ours != theirs
    {
        let outcome = if ours { "uses" } else { "does not use" };
        let text = format!(
            "({ours}) wins over environment.docker.enabled ({theirs}): the run {outcome} Docker"
        );
        notes.push(docker.note(field, text));
    }
    Ok(ours.or(theirs).unwrap_or(false))
}

/// Returns the environment that a section of its own asks for.
pub(super) fn read(
    run: &Section<'_>,
    environment: &Section<'_>,
    project: &Path,
    docker: bool,
    notes: &mut Vec<Note>,
) -> Result<EnvironmentChoice, ConfigurationError> {
    if is_reference(environment) {
        return Ok(reference(environment)?.unwrap_or_default());
    }
    let python = environment.section("python")?;
    let managed_by_user = python.truth("userManagedDependencies")?.unwrap_or(false);
    let conda_file = python.text("condaDependenciesFile")?.map(|file| project.join(file));
    if docker {
        let conda_file = conda_file.filter(|_| !managed_by_user);
        return docker_choice(run, environment, conda_file).map(EnvironmentChoice::Docker);
    }
    if managed_by_user {
        return interpreter(&python, project);
    }
    if let Some(field) = python.field("interpreterPath")
        && field.value.text() != Some("python")
    {
        let why = "has no effect here: it counts where userManagedDependencies is true";
        notes.push(python.note(field, why));
    }
    let inline = python.field("condaDependencies").is_some()
        || python.field("baseCondaEnvironment").is_some();
    match (conda_file, inline) {
        (Some(file), _) => Ok(EnvironmentChoice::Conda { file: Some(file) }),
        (None, true) => Ok(EnvironmentChoice::Conda { file: None }),
        (None, false) => Ok(EnvironmentChoice::Default),
    }
}

/// Tells whether an environment is only named, and kept elsewhere.
pub(super) fn is_reference(environment: &Section<'_>) -> bool {
    let (name, version) = (environment.written("name"), environment.written("version"));
    let named = usize::from(name.is_some()) + usize::from(version.is_some());
    environment.fields().len() == named && environment.field("name").is_some()
}

fn reference(environment: &Section<'_>) -> Result<Option<EnvironmentChoice>, ConfigurationError> {
    let version = environment.text("version")?;
    Ok(environment.text("name")?.map(|name| EnvironmentChoice::Named { name, version }))
}

/// `python` is whichever Python is current; another bare name is looked for on `PATH`.
fn interpreter(
    python: &Section<'_>,
    project: &Path,
) -> Result<EnvironmentChoice, ConfigurationError> {
    Ok(match python.text("interpreterPath")?.as_deref() {
        None | Some("python") => EnvironmentChoice::CurrentPython,
        Some(name) if !name.contains('/') => EnvironmentChoice::Interpreter { path: name.into() },
        Some(path) => EnvironmentChoice::Interpreter { path: project.join(path) },
    })
}

fn docker_choice(
    run: &Section<'_>,
    environment: &Section<'_>,
    conda_file: Option<PathBuf>,
) -> Result<DockerChoice, ConfigurationError> {
    let (newer, older) = (run.section("docker")?, environment.section("docker")?);
    // The switch that decided brings its own settings.
    let settings = if newer.field("useDocker").is_some() { &newer } else { &older };
    let shm_bytes = match settings.field("shmSize") {
        None => None,
        Some(field) => {
            let text = field.value.text().unwrap_or_default();
            let bytes = size::parse_bytes(text);
            Some(bytes.map_err(|_| settings.wrong(field, "a size, such as 2g"))?)
        }
    };
    let built = older.field("baseDockerfile").is_some() || older.field("buildContext").is_some();
    let image = older.text("baseImage")?.filter(|_| !built);
    Ok(DockerChoice { image, conda_file, arguments: settings.texts("arguments")?, shm_bytes })
}

/// Returns the variables of an environment, without the one that the SDK made up.
pub(super) fn variables(
    environment: &Section<'_>,
) -> Result<BTreeMap<String, String>, ConfigurationError> {
    let mut variables = environment.map("environmentVariables")?;
    if variables.get(EXAMPLE.0).map(String::as_str) == Some(EXAMPLE.1) {
        variables.remove(EXAMPLE.0);
    }
    Ok(variables)
}
