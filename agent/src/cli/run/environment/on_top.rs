//! What is put on top of an image.

use std::path::Path;

use images::definition::{requirements, uv_project};
use images::environment::DockerPackages;
use runner::run_configuration::{EnvironmentChoice, PackagesChoice, load_environment};

use super::Chooser;
use super::definition::{self, Kind, wrong};
use crate::cli::Failure;

/// Reads packages; returns them with what people call them and what is to be said.
pub(super) fn packages(
    choice: &PackagesChoice,
    chooser: &Chooser<'_>,
) -> Result<(DockerPackages, String, Vec<String>), Failure> {
    match choice {
        PackagesChoice::Conda(conda) => {
            let (packages, name, notes) = definition::conda_packages(conda, chooser)?;
            Ok((DockerPackages::Conda { packages }, name, notes))
        }
        PackagesChoice::File(path) => of_file(path, chooser),
    }
}

fn of_file(
    path: &Path,
    chooser: &Chooser<'_>,
) -> Result<(DockerPackages, String, Vec<String>), Failure> {
    let name = chooser.named(path);
    match definition::kind(path)? {
        Kind::Requirements => {
            let files = requirements::load(path).map_err(wrong)?;
            Ok((DockerPackages::Requirements { files }, name, Vec::new()))
        }
        Kind::UvProject => {
            let project = uv_project::load(path).map_err(wrong)?;
            Ok((DockerPackages::UvProject { project }, name, Vec::new()))
        }
        Kind::Description => {
            let loaded = load_environment(path).map_err(Failure::usage)?;
            match loaded.choice {
                EnvironmentChoice::Conda(conda) if loaded.variables.is_empty() => {
                    packages(&PackagesChoice::Conda(conda), chooser)
                }
                _ => Err(not_packages(&name)),
            }
        }
        Kind::Dockerfile => Err(not_packages(&name)),
    }
}

fn not_packages(name: &str) -> Failure {
    Failure::usage(format!("{name} is more than a list of packages")).hint(
        "what goes on top of an image is a requirements .txt, a conda .yml, a pyproject.toml or a \
         uv.lock; leave --docker out to use it as it is",
    )
}
