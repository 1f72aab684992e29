//! A project's dependencies as a requirements file, for where uv does not run itself.

use std::ffi::OsStr;
use std::fs;

use snapshots::path_error::IoContext;

use super::steps::Steps;
use super::{BuildError, Watch, Workshop, install, variables, venv};
use crate::definition::{DefinitionError, Place};
use crate::environment::{RequirementsFile, UvProject};

/// What the result is called.
const NAME: &str = "requirements.txt";

/// Returns the requirements: those of the project's lock as uv exports them, with hashes, else
/// those that its `pyproject.toml` lists.
pub(super) fn requirements(
    workshop: &Workshop<'_>,
    project: &UvProject,
    watch: &mut Watch<'_>,
) -> Result<Vec<RequirementsFile>, BuildError> {
    let text = match (&project.lock, venv::find_uv(workshop.host, workshop.tools)) {
        (Some(lock), Some(uv)) => exported(workshop, project, lock, &uv, watch)?,
        (Some(_), None) => {
            (watch.log)(
                b"uv is not on PATH: uv.lock is not read, pyproject.toml is resolved again\n",
            );
            listed(&project.pyproject)?
        }
        (None, _) => listed(&project.pyproject)?,
    };
    Ok(vec![RequirementsFile { name: NAME.to_owned(), text }])
}

fn exported(
    workshop: &Workshop<'_>,
    project: &UvProject,
    lock: &str,
    uv: &std::path::Path,
    watch: &mut Watch<'_>,
) -> Result<String, BuildError> {
    let directory = workshop.directory.join("project");
    fs::create_dir(&directory).context("create", &directory)?;
    for (name, text) in [("pyproject.toml", project.pyproject.as_str()), ("uv.lock", lock)] {
        let path = directory.join(name);
        fs::write(&path, text).context("write", &path)?;
    }
    let mut steps = Steps::new(&directory, "", variables::of_host(workshop.host), watch);
    install::tell_uv(&mut steps, workshop.index, workshop.host);
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

/// Returns the dependencies as `pyproject.toml` has them.
fn listed(pyproject: &str) -> Result<String, DefinitionError> {
    let wrong = |message: &str| DefinitionError::Dockerfile {
        place: Place { file: "pyproject.toml".to_owned(), line: 1 },
        message: message.to_owned(),
    };
    let table: toml::Table =
        pyproject.parse().map_err(|error: toml::de::Error| wrong(error.message()))?;
    let listed = table.get("project").and_then(|project| project.get("dependencies"));
    let Some(listed) = listed else { return Ok(String::new()) };
    let listed = listed.as_array().ok_or_else(|| wrong("project.dependencies is not a list"))?;
    let lines = listed.iter().filter_map(|one| one.as_str()).map(|line| format!("{line}\n"));
    Ok(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_those_of_the_project() {
        let text = "[project]\nname='x'\ndependencies = ['six>=1', \"a; python_version<'3.9'\"]";

        assert_eq!(listed(text).unwrap(), "six>=1\na; python_version<'3.9'\n");
        assert_eq!(listed("[tool.x]").unwrap(), "");
        assert!(listed("[project").is_err());
        assert!(listed("[project]\ndependencies = 1").is_err());
    }
}
