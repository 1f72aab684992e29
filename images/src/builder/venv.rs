//! Virtual environments from requirements files, by uv where it is found, else by pip.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::failure::BuildError;
use super::requirements_files::{self, DIRECTORY, file_path};
use super::steps::Steps;
use super::{Built, Watch, Workshop, conda, install, uv, variables};
use crate::definition::requirements::{LineKind, Requirements};
use crate::environment::RequirementsFile;
use crate::host::HostVariables;
use crate::interpreter::{self, InterpreterFacts};

/// The directory of the environment within that of a build.
const VENV: &str = "venv";

/// How long listing the packages may take.
const PACKAGES_DEADLINE: Duration = Duration::from_secs(60);

/// Returns the directory of the virtual environment within that of the build.
pub(crate) fn prefix(directory: &Path) -> PathBuf {
    directory.join(VENV)
}

/// Builds what `files` say, based on the interpreter `base`. `previous` is the lock of an earlier
/// build of the same, whose versions are then taken again.
pub(crate) fn build(
    workshop: &Workshop<'_>,
    base: &InterpreterFacts,
    files: &[RequirementsFile],
    previous: &[RequirementsFile],
    watch: &mut Watch<'_>,
) -> Result<Built, BuildError> {
    let checked = Requirements::check(files)?;
    let environment = variables::for_build(workshop.host, &checked)?;
    requirements_files::write(&checked, &workshop.directory.join(DIRECTORY))?;
    let earlier = requirements_files::write_constraints(&checked, previous, workshop.directory)?;
    let more: Vec<&str> = earlier.iter().flat_map(|path| ["--constraint", path]).collect();
    // Relative to the directory of the build, where the tools run: their messages are for people.
    let requirements = Path::new(DIRECTORY).join(file_path(&checked, 0));
    let need_pip = workshop.index.need_pip() || checked.have_variables_outside_urls();
    let uv = if need_pip {
        None
    } else {
        uv::find_or_fetch(workshop, Some(&base.base_executable), watch)?
    };
    let mut steps = Steps::new(workshop.directory, &base.version, environment, watch);
    let built_by = match uv {
        Some(uv) => with_uv(workshop, base, &mut steps, &uv, (&requirements, &more))?,
        None => with_pip(workshop, base, &mut steps, (&requirements, &more))?,
    };
    let built = installed(workshop, built_by)?;
    let lock = frozen(&checked, &built.packages);
    Ok(Built { lock: vec![lock], ..built })
}

/// Asks what was built what it is and holds.
pub(super) fn installed(workshop: &Workshop<'_>, built_by: String) -> Result<Built, BuildError> {
    let python = prefix(workshop.directory).join("bin/python");
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

/// Returns a requirements file of what was installed, with the options of those it came from, as
/// these say where packages are found.
fn frozen(requirements: &Requirements<'_>, packages: &[String]) -> RequirementsFile {
    let lines = requirements.files.iter().flat_map(|file| &file.lines);
    let mut text = String::new();
    for line in lines.filter(|line| matches!(line.kind, LineKind::Options)) {
        text += &line.text;
        text.push('\n');
    }
    for package in packages {
        text += package;
        text.push('\n');
    }
    RequirementsFile { name: conda::PIP_LOCK.to_owned(), text }
}

/// Notes that a build uses `path` if it is among `tools`.
pub(super) fn note_use(tools: &Path, path: &Path) {
    let Ok(below) = path.strip_prefix(tools) else { return };
    let Some(first) = below.components().next() else { return };
    let noted = std::fs::File::open(tools.join(first))
        .and_then(|it| it.set_modified(std::time::SystemTime::now()));
    if let Err(error) = noted
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "Could not note the use of a tool.");
    }
}

/// Finds the program `name` on the host's `PATH`, else in `tools`.
pub(super) fn find_tool(name: &str, host: &HostVariables, tools: &Path) -> Option<PathBuf> {
    let search_path = host.get("PATH").unwrap_or_default();
    let both = std::env::join_paths(
        std::env::split_paths(search_path).chain([tools.to_owned(), tools.join("bin")]),
    );
    let found = interpreter::on_path(OsStr::new(name), &both.ok()?)?;
    note_use(tools, &found);
    Some(found)
}

fn with_uv(
    workshop: &Workshop<'_>,
    base: &InterpreterFacts,
    steps: &mut Steps<'_, '_>,
    uv: &Path,
    (requirements, more): (&Path, &[&str]),
) -> Result<String, BuildError> {
    install::tell_uv(steps, workshop.index, workshop.host);
    let make: [&OsStr; 5] = [
        "venv".as_ref(),
        "--no-project".as_ref(),
        "--python".as_ref(),
        base.base_executable.as_ref(),
        VENV.as_ref(),
    ];
    steps.step("uv", "make the virtual environment", uv, &make)?;
    let python = Path::new(VENV).join("bin/python");
    install::with_uv(steps, uv, workshop.index, &python, requirements, more)
}

fn with_pip(
    workshop: &Workshop<'_>,
    base: &InterpreterFacts,
    steps: &mut Steps<'_, '_>,
    (requirements, more): (&Path, &[&str]),
) -> Result<String, BuildError> {
    let make: [&OsStr; 4] = ["-I".as_ref(), "-m".as_ref(), "venv".as_ref(), VENV.as_ref()];
    steps.step("venv", "make the virtual environment", &base.base_executable, &make)?;
    let python = prefix(workshop.directory).join("bin/python");
    install::with_pip(steps, &python, requirements, more)
}
