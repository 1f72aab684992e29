//! A conda file with its packages from an index of Python packages: what `--conda-from-pip` asks
//! for, where no channel can be reached.

use super::names::{Counterpart, counterpart};
use super::{CondaSpec, parse, pip_files};
use crate::definition::DefinitionError;
use crate::environment::{CondaPackages, RequirementsFile};

/// The same-named packages of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromPip {
    /// As in [`Environment::Requirements`](crate::environment::Environment::Requirements). The
    /// first says in its name that it is not the conda file itself.
    pub files: Vec<RequirementsFile>,
    /// The versions of Python that will do, as `==3.10.*`, if the file says.
    pub python: Option<String>,
    /// Variables that processes in the environment find set. An environment of requirements has no
    /// place for them.
    pub variables: std::collections::BTreeMap<String, String>,
    /// What is not the same as with conda, a sentence each.
    pub notes: Vec<String>,
}

/// Converts `packages`.
///
/// # Errors
///
/// The file cannot be understood.
pub fn from_pip(packages: &CondaPackages) -> Result<FromPip, DefinitionError> {
    let file = parse(&packages.name, &packages.text)?;
    let mut notes = Vec::new();
    let mut lines = Vec::new();
    let mut python = None;
    let mut native = Vec::new();
    for spec in &file.specs {
        let version = version(spec, &mut notes);
        match counterpart(&spec.name) {
            Counterpart::Named("python") => python = version,
            Counterpart::Named(name) => lines.push(name.to_owned() + &version.unwrap_or_default()),
            Counterpart::Native => native.push(spec.name.as_str()),
        }
        if spec.build.is_some() || spec.other.is_some() {
            notes.push(format!(
                "{}: only name and version are kept of {:?}",
                packages.name, spec.text
            ));
        }
    }
    if !native.is_empty() {
        notes.push(format!(
            "{}: no Python packages, left out: {}",
            packages.name,
            native.join(", ")
        ));
    }
    let name = format!("{} (packages from pip)", packages.name);
    let mut files = Vec::new();
    if let Some(mut section) = pip_files(packages)? {
        // The section's own lines keep their numbers only where it is a file of its own, and a line
        // of ours could leave out what one of its options asks for.
        lines.extend(section[0].text.lines().filter(|line| !line.is_empty()).map(str::to_owned));
        files = section.split_off(1);
    }
    files.insert(0, RequirementsFile { name, text: lines.join("\n") + "\n" });
    Ok(FromPip { files, python, variables: file.variables, notes })
}

/// Returns the version of `spec` as an index of Python packages understands it.
fn version(spec: &CondaSpec, notes: &mut Vec<String>) -> Option<String> {
    let written = spec.version.as_deref().filter(|version| *version != "*")?;
    let parts: Option<Vec<String>> = written.split(',').map(part).collect();
    match parts {
        Some(parts) => {
            let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            (!parts.is_empty()).then(|| parts.join(","))
        }
        None => {
            notes.push(format!(
                "{}: version {written:?} has no counterpart with pip: any version is taken",
                spec.name
            ));
            None
        }
    }
}

/// Converts one of several conditions. Empty where it asks for nothing.
fn part(written: &str) -> Option<String> {
    const OPERATORS: &[&str] = &["==", ">=", "<=", "!=", "~=", ">", "<", "="];
    let operator = OPERATORS.iter().find(|operator| written.starts_with(**operator));
    let (operator, version) = match operator {
        Some(operator) => (*operator, &written[operator.len()..]),
        None => ("", written),
    };
    let (version, open) = match version.strip_suffix('*') {
        Some(version) => (version.trim_end_matches('.'), true),
        None => (version, false),
    };
    if version.is_empty() && open {
        return Some(String::new());
    }
    if !is_version(version) {
        return None;
    }
    let plain = version.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    Some(match (operator, open) {
        // What begins with a version can be asked for of a final one only.
        ("=", false) if !plain => format!("=={version}"),
        ("=", _) | ("" | "==", true) => format!("=={version}.*"),
        ("" | "==", false) => format!("=={version}"),
        ("!=", true) => format!("!={version}.*"),
        // As conda reads `>=1.2.*`.
        (">=", _) => format!(">={version}"),
        (_, true) => return None,
        (operator, false) => format!("{operator}{version}"),
    })
}

/// Whether it is a version to an index of Python packages: numbers, and perhaps `a1`, `rc2`,
/// `.post3`.
fn is_version(text: &str) -> bool {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (numbers, suffix) = text.split_at(end);
    let numbers = numbers.strip_suffix('.').filter(|_| !suffix.is_empty()).unwrap_or(numbers);
    let plain = !numbers.is_empty() && numbers.split('.').all(|number| !number.is_empty());
    let suffix_number = ["a", "b", "rc", "post", "dev"]
        .iter()
        .find_map(|word| suffix.strip_prefix(word))
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
    plain && (suffix.is_empty() || suffix_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(text: &str) -> String {
        let packages = CondaPackages {
            name: "conda.yml".to_owned(),
            text: text.to_owned(),
            requirements: Vec::new(),
            directory: None,
        };
        let FromPip { files, python, notes, .. } = from_pip(&packages).unwrap();
        assert_eq!(files[0].name, "conda.yml (packages from pip)");
        format!("{}python {python:?}\n{}", files[0].text, notes.join("\n"))
    }

    #[test]
    fn packages_keep_their_names_and_versions_as_far_as_there_are_counterparts() {
        let text = "\
dependencies:
- python=3.10
- scikit-learn=1.3
- numpy >=1.20, <2
- pandas 2.0.3
- scipy==1.11.1=py310_0
- conda-forge::joblib=*=pyh_0
- six 1.*
- idna >=2.*
- attrs !=21.1.*
- tqdm=4.0|5.0
- tzdata=2023c
- click=8.0rc1
- pytorch::pytorch=2.1
- ray-default
- ruamel_yaml~=0.17
- matplotlib-base
- pip
- openmpi=4.1
- cudatoolkit=11.8
- libgcc-ng
- librosa
- pip:
  - --extra-index-url https://packages.example.com/simple
  - azureml-defaults
";
        insta::assert_snapshot!(converted(text), @r#"
        scikit-learn==1.3.*
        numpy>=1.20,<2
        pandas==2.0.3
        scipy==1.11.1
        joblib
        six==1.*
        idna>=2
        attrs!=21.1.*
        tqdm
        tzdata
        click==8.0rc1
        torch==2.1.*
        ray[default]
        ruamel.yaml~=0.17
        matplotlib
        librosa
        --extra-index-url https://packages.example.com/simple
        azureml-defaults
        python Some("==3.10.*")
        conda.yml: only name and version are kept of "scipy==1.11.1=py310_0"
        conda.yml: only name and version are kept of "conda-forge::joblib=*=pyh_0"
        tqdm: version "=4.0|5.0" has no counterpart with pip: any version is taken
        tzdata: version "=2023c" has no counterpart with pip: any version is taken
        conda.yml: no Python packages, left out: pip, openmpi, cudatoolkit, libgcc-ng
        "#);
    }

    #[test]
    fn a_file_without_packages_becomes_an_empty_one() {
        insta::assert_snapshot!(converted("name: x"), @r#"python None"#);
    }
}
