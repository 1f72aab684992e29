//! The environment of a run configuration: Python's two ways, and Docker's two switches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::reading::Section;
use super::super::{ConfigurationError, EnvironmentChoice, Note};
use super::{docker, packages};

/// The variable that every environment has that the SDK made up.
const EXAMPLE: (&str, &str) = ("EXAMPLE_ENV_VAR", "EXAMPLE_VALUE");

/// An environment's section with what is around it.
pub(super) struct Surroundings<'a> {
    /// The environment itself.
    pub(super) environment: Section<'a>,
    /// The run's own `docker` section; empty where there is no run.
    pub(super) run_docker: Section<'a>,
    /// What paths in it are relative to.
    pub(super) project: PathBuf,
    /// The folder it was saved in by the SDK, with its conda file and Dockerfile beside it.
    pub(super) saved_in: Option<PathBuf>,
}

/// Decides between the run's switch and the environment's.
///
/// The SDK says that the run's wins, which is the newer one; a note says so where they differ,
/// as they do in the files that `az ml folder attach` made. Where the run says nothing, an
/// environment with a Dockerfile is a container: SDKs that have the newer switch write `false`
/// into the older one of every environment.
pub(super) fn uses_docker(
    around: &Surroundings<'_>,
    notes: &mut Vec<Note>,
) -> Result<bool, ConfigurationError> {
    let docker = &around.run_docker;
    let older = around.environment.section("docker")?;
    let (ours, theirs) = (docker.truth("useDocker")?, older.truth("enabled")?);
    if let (Some(ours), Some(theirs), Some(field)) = (ours, theirs, docker.field("useDocker"))
        && ours != theirs
    {
        let outcome = if ours { "uses" } else { "does not use" };
        let text = format!(
            "({ours}) wins over {}docker.enabled ({theirs}): the run {outcome} Docker",
            around.environment.prefix()
        );
        notes.push(docker.note(field, text));
    }
    if let Some(ours) = ours {
        return Ok(ours);
    }
    let built = docker::has_dockerfile(around)?;
    if let (true, Some(false), Some(field)) = (built, theirs, older.field("enabled")) {
        let text = "(false) does not count: the environment has a Dockerfile, so it is a container";
        notes.push(older.note(field, text));
    }
    Ok(built || theirs.unwrap_or(false))
}

/// Returns the environment that a section of its own asks for.
pub(super) fn read(
    around: &Surroundings<'_>,
    docker: bool,
    notes: &mut Vec<Note>,
) -> Result<EnvironmentChoice, ConfigurationError> {
    if is_reference(&around.environment) {
        if let (true, Some(field)) = (docker, around.run_docker.field("useDocker")) {
            let text = "has no effect here: a registered environment is what it was registered as";
            notes.push(around.run_docker.note(field, text));
        }
        return reference(&around.environment);
    }
    let python = around.environment.section("python")?;
    let managed_by_user = python.truth("userManagedDependencies")?.unwrap_or(false);
    if let (false, Some(field)) = (managed_by_user, python.field("interpreterPath"))
        && field.value.text() != Some("python")
    {
        let why = "has no effect here: it counts where userManagedDependencies is true";
        notes.push(python.note(field, why));
    }
    let conda =
        if managed_by_user { None } else { packages::read(around, &python, docker, notes)? };
    if docker {
        let interpreter = match (managed_by_user, &conda) {
            (true, _) => python.text("interpreterPath")?.filter(|path| path != "python"),
            (false, Some(_)) => None,
            // It is one in the image.
            (false, None) => match packages::existing(&python, notes)? {
                EnvironmentChoice::Interpreter { path } => Some(path.display().to_string()),
                _ => None,
            },
        };
        let choice = docker::read(around, conda, interpreter, notes)?;
        return Ok(EnvironmentChoice::Docker(Box::new(choice)));
    }
    if managed_by_user {
        return interpreter(&python, &around.project);
    }
    match conda {
        Some(conda) => Ok(EnvironmentChoice::Conda(conda)),
        None => packages::existing(&python, notes),
    }
}

/// Tells whether an environment is only named, and kept elsewhere.
pub(super) fn is_reference(environment: &Section<'_>) -> bool {
    let (name, version) = (environment.written("name"), environment.written("version"));
    let named = usize::from(name.is_some()) + usize::from(version.is_some());
    environment.fields().len() == named && environment.field("name").is_some()
}

fn reference(environment: &Section<'_>) -> Result<EnvironmentChoice, ConfigurationError> {
    let version = environment.text("version")?;
    let name = environment.text("name")?;
    Ok(name.map_or(EnvironmentChoice::Default, |name| EnvironmentChoice::Named { name, version }))
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
