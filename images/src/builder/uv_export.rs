//! A project's dependencies as a requirements file, for where uv does not run itself.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use snapshots::path_error::IoContext;

use super::steps::Steps;
use super::{BuildError, Watch, Workshop, install, uv, variables};
use crate::definition::uv_project::Project;
use crate::environment::{RequirementsFile, UvProject};
use crate::interpreter;

/// What the result is called.
const NAME: &str = "requirements.txt";

/// Returns the requirements: those of the project's lock as uv exports them, with hashes, else
/// those that its `pyproject.toml` lists.
pub(super) fn requirements(
    workshop: &Workshop<'_>,
    project: &UvProject,
    watch: &mut Watch<'_>,
) -> Result<Vec<RequirementsFile>, BuildError> {
    let parsed = Project::parse(project)?;
    if !parsed.needs_uv() {
        return Ok(vec![RequirementsFile { name: NAME.to_owned(), ..parsed.requirements() }]);
    }
    // What uv is fetched with has nothing to do with what is built.
    let search_path = workshop.host.get("PATH").unwrap_or_default();
    let python = interpreter::on_path("python3".as_ref(), search_path);
    let uv = uv::find_or_fetch(workshop, python.as_deref(), watch)?.ok_or(BuildError::NoUv)?;
    let text = exported(workshop, project, &uv, watch)?;
    Ok(vec![RequirementsFile { name: NAME.to_owned(), text }])
}

fn exported(
    workshop: &Workshop<'_>,
    project: &UvProject,
    uv: &Path,
    watch: &mut Watch<'_>,
) -> Result<String, BuildError> {
    let directory = workshop.directory.join("project");
    fs::create_dir(&directory).context("create", &directory)?;
    let files = [("pyproject.toml", Some(&project.pyproject)), ("uv.lock", project.lock.as_ref())];
    for (name, text) in files {
        let path = directory.join(name);
        text.map_or(Ok(()), |text| fs::write(&path, text)).context("write", &path)?;
    }
    let mut steps = Steps::new(&directory, "", variables::of_host(workshop.host), watch);
    install::tell_uv(&mut steps, workshop.index, workshop.host);
    if project.lock.is_none() {
        steps.step("uv", "resolve the dependencies", uv, &["lock".as_ref()])?;
    }
    let arguments = [
        "export",
        "--frozen",
        "--no-dev",
        "--no-emit-project",
        "--no-header",
        "--quiet",
        "--output-file",
        NAME,
    ];
    steps.step("uv", "export the lock", uv, &arguments.map(OsStr::new))?;
    let path = directory.join(NAME);
    Ok(fs::read_to_string(&path).context("read", &path)?)
}
