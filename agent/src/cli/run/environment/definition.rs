//! From files that list packages to environments.

use std::path::{Path, PathBuf};

use images::definition::{DefinitionError, conda_file, requirements as requirements_file};
use images::environment::{CondaPackages, DockerPackages, Environment};
use runner::run_configuration::{CondaChoice, SAVED_ENVIRONMENT};

use super::{Chooser, Chosen};
use crate::cli::Failure;
use crate::config::{Key, Origin};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A requirements file.
    Requirements,
    /// `pyproject.toml` or `uv.lock`.
    UvProject,
    /// A Dockerfile.
    Dockerfile,
    /// A conda file, or one that an SDK of Azure ML reads or writes: what is in it tells.
    Description,
}

/// Tells what a file is by its name.
///
/// # Errors
///
/// Its name tells of nothing that is known.
pub(super) fn kind(path: &Path) -> Result<Kind, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if path.is_dir() {
        if path.join(SAVED_ENVIRONMENT).is_file() {
            return Ok(Kind::Description);
        }
        return Err(Failure::usage(format!("{} is a directory", path.display())).hint(format!(
            "name a file in it; a directory does where it has an {SAVED_ENVIRONMENT}"
        )));
    }
    match extension.as_str() {
        "dockerfile" => return Ok(Kind::Dockerfile),
        "yml" | "yaml" | "json" => return Ok(Kind::Description),
        "txt" | "in" => return Ok(Kind::Requirements),
        _ => {}
    }
    match name.as_str() {
        "pyproject.toml" | "uv.lock" => Ok(Kind::UvProject),
        name if name.contains("Dockerfile") || name.contains("Containerfile") => {
            Ok(Kind::Dockerfile)
        }
        _ => Err(Failure::usage(format!("{name} is no kind of environment file that is known"))
            .hint(
                "an environment is a requirements .txt, a conda .yml, a pyproject.toml, a uv.lock, \
                 a Dockerfile, or an environment of Azure ML",
            )),
    }
}

pub(super) fn requirements(
    path: &Path,
    chooser: &Chooser<'_>,
    because: &str,
) -> Result<Chosen, Failure> {
    let interpreter = chooser.interpreter(None)?;
    let files = requirements_file::load(path).map_err(wrong)?;
    let environment = Environment::Requirements { interpreter, files };
    Ok(Chosen::new(environment, chooser.named(path), because))
}

pub(super) fn uv_project(
    path: &Path,
    chooser: &Chooser<'_>,
    because: &str,
) -> Result<Chosen, Failure> {
    let interpreter = chooser.interpreter(None)?;
    let project = images::definition::uv_project::load(path).map_err(wrong)?;
    let environment = Environment::UvProject { interpreter, project };
    Ok(Chosen::new(environment, chooser.named(path), because))
}

pub(super) fn conda(
    conda: &CondaChoice,
    chooser: &Chooser<'_>,
    because: &str,
) -> Result<Chosen, Failure> {
    let (packages, name, mut notes) = conda_packages(conda, chooser)?;
    let python = chooser.settings.get(Key::Python).map(|setting| setting.origin);
    if python == Some(Origin::Flag) && !chooser.conda_from_pip {
        notes.push(format!("--python has no effect here: {name} brings a Python of its own"));
    }
    let chosen = Chosen::new(Environment::Conda { packages }, name, because);
    Ok(Chosen { notes, ..chosen })
}

/// Reads conda packages; returns them with what people call them and what is to be said.
pub(super) fn conda_packages(
    conda: &CondaChoice,
    chooser: &Chooser<'_>,
) -> Result<(CondaPackages, String, Vec<String>), Failure> {
    let (packages, name) = match conda {
        CondaChoice::File(path) => (conda_file::load(path).map_err(wrong)?, chooser.named(path)),
        CondaChoice::Listed { text, place } => {
            let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let directory = place.parent().map(PathBuf::from).unwrap_or_default();
            let packages = conda_file::of_text(&name, text, &directory).map_err(wrong)?;
            (packages, format!("packages listed in {}", chooser.named(place)))
        }
    };
    let file = conda_file::parse(&packages.name, &packages.text).map_err(wrong)?;
    Ok((packages, name, file.warnings))
}

/// Has packages that a conda file lists installed by pip.
pub(super) fn take_from_pip(chosen: &mut Chosen, chooser: &Chooser<'_>) -> Result<(), Failure> {
    let packages = match &chosen.environment {
        Environment::Conda { packages } => packages.clone(),
        Environment::Docker { docker } => match &docker.packages {
            Some(DockerPackages::Conda { packages }) => packages.clone(),
            _ => return Err(nothing_for_conda(chosen)),
        },
        _ => return Err(nothing_for_conda(chosen)),
    };
    let from_pip = conda_file::from_pip(&packages).map_err(wrong)?;
    let files = from_pip.files;
    match &mut chosen.environment {
        Environment::Docker { docker } => {
            docker.packages = Some(DockerPackages::Requirements { files });
            if let Some(python) = &from_pip.python {
                chosen.notes.push(format!(
                    "{}: asks for Python {python}; the image's own is used",
                    packages.name
                ));
            }
        }
        environment => {
            let interpreter =
                python_for(from_pip.python.as_deref(), chooser, &packages.name, &mut chosen.notes)?;
            *environment = Environment::Requirements { interpreter, files };
        }
    }
    chosen.name.push_str(" (packages from pip)");
    chosen.notes.extend(from_pip.notes);
    // What was set before says more of this run than the file does.
    for (name, value) in from_pip.variables {
        chosen.variables.entry(name).or_insert(value);
    }
    Ok(())
}

fn nothing_for_conda(chosen: &Chosen) -> Failure {
    Failure::usage(format!("--conda-from-pip: {} lists no conda packages", chosen.name))
        .hint("leave --conda-from-pip out")
}

/// Finds the Python that the file asks for by its version, else says that it is another.
fn python_for(
    asked: Option<&str>,
    chooser: &Chooser<'_>,
    file: &str,
    notes: &mut Vec<String>,
) -> Result<PathBuf, Failure> {
    let Some(asked) = asked else { return chooser.interpreter(None) };
    let named = asked.trim_start_matches('=').splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    let is_version = named.chars().all(|c| c.is_ascii_digit() || c == '.') && named.contains('.');
    if chooser.elsewhere.is_none()
        && chooser.settings.get(Key::Python).is_none()
        && is_version
        && let Ok(found) = chooser.interpreter(Some(Path::new(&format!("python{named}"))))
    {
        return Ok(found);
    }
    let found = chooser.interpreter(None)?;
    notes.push(format!("{file}: asks for Python {asked}; {} is used", found.display()));
    Ok(found)
}

pub(super) fn wrong(error: DefinitionError) -> Failure {
    let hint = error.hint();
    Failure::usage(error).maybe_hint(hint)
}
