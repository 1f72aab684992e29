//! What an environment is called in its record, and the files it was made from.

use std::collections::BTreeMap;

use crate::definition::conda_file;
use crate::environment::{
    CondaPackages, DockerBase, DockerEnvironment, DockerPackages, Environment, RequirementsFile,
    UvProject,
};

/// Returns the kind, as environments are told apart in JSON.
pub(super) fn kind(environment: &Environment) -> &'static str {
    match environment {
        Environment::UserManaged { .. } => "userManaged",
        Environment::Requirements { .. } => "requirements",
        Environment::UvProject { .. } => "uvProject",
        Environment::Conda { .. } => "conda",
        Environment::Docker { .. } => "docker",
    }
}

/// Returns the name of the definition, for people: `requirements.txt`, `Dockerfile + conda.yml`.
pub(super) fn name(environment: &Environment) -> String {
    match environment {
        Environment::UserManaged { interpreter } => interpreter.display().to_string(),
        Environment::Requirements { files, .. } => first_name(files),
        Environment::UvProject { project, .. } => uv_name(project),
        Environment::Conda { packages } => packages.name.clone(),
        Environment::Docker { docker } => {
            let base = match &docker.base {
                DockerBase::Image { reference } => reference.clone(),
                DockerBase::Dockerfile { name, .. } => name.clone(),
            };
            match &docker.packages {
                None => base,
                Some(packages) => format!("{base} + {}", packages_name(packages)),
            }
        }
    }
}

fn packages_name(packages: &DockerPackages) -> String {
    match packages {
        DockerPackages::Requirements { files } => first_name(files),
        DockerPackages::UvProject { project } => uv_name(project),
        DockerPackages::Conda { packages } => packages.name.clone(),
    }
}

fn first_name(files: &[RequirementsFile]) -> String {
    files.first().map(|file| file.name.clone()).unwrap_or_default()
}

fn uv_name(project: &UvProject) -> String {
    let name = if project.lock.is_some() { "uv.lock" } else { "pyproject.toml" };
    name.to_owned()
}

/// Returns what processes in it find in their environment. `prefix`: where its Python is.
pub(super) fn variables(environment: &Environment, prefix: String) -> BTreeMap<String, String> {
    let conda = |packages: &CondaPackages| {
        let mut variables = conda_file::variables(packages);
        variables.insert("CONDA_PREFIX".to_owned(), prefix.clone());
        variables
    };
    let venv = || BTreeMap::from([("VIRTUAL_ENV".to_owned(), prefix.clone())]);
    match environment {
        Environment::UserManaged { .. } => BTreeMap::new(),
        Environment::Requirements { .. } | Environment::UvProject { .. } => venv(),
        Environment::Conda { packages } => conda(packages),
        Environment::Docker { docker } => match &docker.packages {
            None => BTreeMap::new(),
            Some(DockerPackages::Conda { packages }) => conda(packages),
            Some(DockerPackages::Requirements { .. } | DockerPackages::UvProject { .. }) => venv(),
        },
    }
}

/// Returns the texts it is made from, each with the name that people know it by.
pub(super) fn files(environment: &Environment) -> Vec<RequirementsFile> {
    match environment {
        Environment::UserManaged { .. } => Vec::new(),
        Environment::Requirements { files, .. } => files.clone(),
        Environment::UvProject { project, .. } => project_files(project),
        Environment::Conda { packages } => conda_files(packages),
        Environment::Docker { docker } => docker_files(docker),
    }
}

fn docker_files(docker: &DockerEnvironment) -> Vec<RequirementsFile> {
    let mut files = Vec::new();
    if let DockerBase::Dockerfile { name, text, .. } = &docker.base {
        files.push(RequirementsFile { name: name.clone(), text: text.clone() });
    }
    files.extend(match &docker.packages {
        None => Vec::new(),
        Some(DockerPackages::Requirements { files }) => files.clone(),
        Some(DockerPackages::UvProject { project }) => project_files(project),
        Some(DockerPackages::Conda { packages }) => conda_files(packages),
    });
    files
}

fn project_files(project: &UvProject) -> Vec<RequirementsFile> {
    let file =
        |name: &str, text: &String| RequirementsFile { name: name.to_owned(), text: text.clone() };
    let lock = project.lock.iter().map(|text| file("uv.lock", text));
    std::iter::once(file("pyproject.toml", &project.pyproject)).chain(lock).collect()
}

fn conda_files(packages: &CondaPackages) -> Vec<RequirementsFile> {
    let file = RequirementsFile { name: packages.name.clone(), text: packages.text.clone() };
    std::iter::once(file).chain(packages.requirements.iter().cloned()).collect()
}
