//! Virtual environments from requirements files, by uv where it is found, else by pip.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::failure::BuildError;
use super::requirements_files::{self, DIRECTORY, file_path};
use super::steps::Steps;
use super::{Built, IndexSettings, Watch, install, variables};
use crate::definition::requirements::Requirements;
use crate::host::HostVariables;
use crate::interpreter::{self, InterpreterFacts};

/// The directory of the environment within that of a build.
const VENV: &str = "venv";

/// How long listing the packages may take.
const PACKAGES_DEADLINE: Duration = Duration::from_secs(60);

/// What is to be built, and where.
pub(crate) struct Plan<'a> {
    /// Of the interpreter to base it on.
    pub(crate) base: &'a InterpreterFacts,
    pub(crate) requirements: &'a Requirements<'a>,
    pub(crate) host: &'a HostVariables,
    pub(crate) settings: &'a IndexSettings,
    /// Exists and is empty.
    pub(crate) directory: &'a Path,
    /// Where uv may be if it is not on `PATH`.
    pub(crate) tools: &'a Path,
}

/// Returns the directory of the virtual environment within that of the build.
pub(crate) fn prefix(directory: &Path) -> PathBuf {
    directory.join(VENV)
}

/// Builds what `plan` says.
pub(crate) fn build(plan: &Plan<'_>, watch: &mut Watch<'_>) -> Result<Built, BuildError> {
    let environment = variables::for_build(plan.host, plan.requirements)?;
    requirements_files::write(plan.requirements, &plan.directory.join(DIRECTORY))?;
    // Relative to the directory of the build, where the tools run: their messages are for people.
    let requirements = Path::new(DIRECTORY).join(file_path(plan.requirements, 0));
    let mut steps = Steps::new(plan.directory, &plan.base.version, environment, watch);
    let need_pip = plan.settings.need_pip() || plan.requirements.have_variables_outside_urls();
    let uv = if need_pip { None } else { find_uv(plan.host, plan.tools) };
    let built_by = match uv {
        Some(uv) => with_uv(plan, &mut steps, &uv, &requirements)?,
        None => with_pip(plan, &mut steps, &requirements)?,
    };
    let python = prefix(plan.directory).join("bin/python");
    let facts = interpreter::describe(&python)?;
    let packages = interpreter::packages(&python, PACKAGES_DEADLINE)?;
    Ok(Built {
        python_version: Some(facts.version.clone()),
        python: Some(facts),
        packages,
        lock: Vec::new(),
        built_by,
        image: None,
    })
}

/// Finds uv on the host's `PATH`, else in `tools`.
pub(super) fn find_uv(host: &HostVariables, tools: &Path) -> Option<PathBuf> {
    find_tool("uv", host, tools)
}

/// Finds the program `name` on the host's `PATH`, else in `tools`.
pub(super) fn find_tool(name: &str, host: &HostVariables, tools: &Path) -> Option<PathBuf> {
    let search_path = host.get("PATH").unwrap_or_default();
    let both = std::env::join_paths(
        std::env::split_paths(search_path).chain([tools.to_owned(), tools.join("bin")]),
    );
    interpreter::on_path(OsStr::new(name), &both.ok()?)
}

fn with_uv(
    plan: &Plan<'_>,
    steps: &mut Steps<'_, '_>,
    uv: &Path,
    requirements: &Path,
) -> Result<String, BuildError> {
    install::tell_uv(steps, plan.settings, plan.host);
    let make: [&OsStr; 5] = [
        "venv".as_ref(),
        "--no-project".as_ref(),
        "--python".as_ref(),
        plan.base.base_executable.as_ref(),
        VENV.as_ref(),
    ];
    steps.step("uv", "make the virtual environment", uv, &make)?;
    let python = Path::new(VENV).join("bin/python");
    install::with_uv(steps, uv, plan.settings, &python, requirements, &[])
}

fn with_pip(
    plan: &Plan<'_>,
    steps: &mut Steps<'_, '_>,
    requirements: &Path,
) -> Result<String, BuildError> {
    let make: [&OsStr; 4] = ["-I".as_ref(), "-m".as_ref(), "venv".as_ref(), VENV.as_ref()];
    steps.step("venv", "make the virtual environment", &plan.base.base_executable, &make)?;
    let python = prefix(plan.directory).join("bin/python");
    install::with_pip(steps, &python, requirements, &[])
}
