//! Virtual environments with the dependencies of a Python project: by uv, which knows its lock and
//! settings, or by pip where there is neither.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use snapshots::path_error::IoContext;

use super::steps::Steps;
use super::{BuildError, Built, Watch, Workshop, install, uv, variables, venv};
use crate::definition::uv_project::Project;
use crate::environment::{RequirementsFile, UvProject};
use crate::interpreter::InterpreterFacts;

/// The directory of the project's files within that of a build. Nothing else of the project is
/// there, and nothing else is needed: the project itself is not installed.
const PROJECT: &str = "project";

/// The name of its lock.
const LOCK: &str = "uv.lock";

/// Builds the dependencies of `project`, based on the interpreter `base`. `previous` is as for
/// [`venv::build`].
pub(crate) fn build(
    workshop: &Workshop<'_>,
    base: &InterpreterFacts,
    project: &UvProject,
    previous: &[RequirementsFile],
    watch: &mut Watch<'_>,
) -> Result<Built, BuildError> {
    let parsed = Project::parse(project)?;
    let resolved = previous.iter().find(|file| file.name == LOCK).map(|file| file.text.clone());
    let lock = project.lock.clone().or(resolved);
    let project = &UvProject { lock, ..project.clone() };
    match uv::find_or_fetch(workshop, Some(&base.base_executable), watch)? {
        Some(uv) => sync(workshop, base, project, &uv, watch),
        None if parsed.needs_uv() => Err(BuildError::NoUv),
        None => venv::build(workshop, base, &[parsed.requirements()], previous, watch),
    }
}

fn sync(
    workshop: &Workshop<'_>,
    base: &InterpreterFacts,
    project: &UvProject,
    uv: &Path,
    watch: &mut Watch<'_>,
) -> Result<Built, BuildError> {
    let directory = workshop.directory.join(PROJECT);
    fs::create_dir(&directory).context("create", &directory)?;
    let pyproject = directory.join("pyproject.toml");
    fs::write(&pyproject, &project.pyproject).context("write", &pyproject)?;
    let lock = directory.join(LOCK);
    let mut environment = variables::of_host(workshop.host);
    environment
        .insert("UV_PROJECT_ENVIRONMENT".into(), venv::prefix(workshop.directory).into_os_string());
    let mut steps = Steps::new(workshop.directory, &base.version, environment, watch);
    install::tell_uv(&mut steps, workshop.index, workshop.host);
    let version = steps.version(uv, &["--version"]);
    let python = base.base_executable.as_os_str();
    let mut common: Vec<&OsStr> =
        ["--project", PROJECT, "--python"].iter().map(OsStr::new).collect();
    common.push(python);
    common.extend(workshop.index.uv_arguments().into_iter().map(OsStr::new));
    match &project.lock {
        Some(text) => fs::write(&lock, text).context("write", &lock)?,
        None => {
            let arguments: Vec<&OsStr> =
                [OsStr::new("lock")].into_iter().chain(common.clone()).collect();
            steps.step("uv", "resolve the dependencies", uv, &arguments)?;
        }
    }
    let sync = ["sync", "--frozen", "--no-install-project", "--no-dev"];
    let arguments: Vec<&OsStr> = sync.iter().map(OsStr::new).chain(common).collect();
    steps.step("uv", "install the dependencies", uv, &arguments)?;
    let built = venv::installed(workshop, version.unwrap_or_else(|| "uv".to_owned()))?;
    let text = fs::read_to_string(&lock).context("read", &lock)?;
    let file = |name: &str, text: &str| RequirementsFile { name: name.into(), text: text.into() };
    let lock = vec![file("pyproject.toml", &project.pyproject), file(LOCK, &text)];
    Ok(Built { lock, ..built })
}
