//! The conda packages of an environment: in a file, in place, or those of an environment that is
//! there already.

use std::path::Path;

use super::super::load::read_document;
use super::super::reading::{Field, Section};
use super::super::yaml::Node;
use super::super::{CondaChoice, ConfigurationError, EnvironmentChoice, Note};
use super::environment::Surroundings;

/// The file beside an environment that the SDK saved.
const SAVED_FILE: &str = "conda_dependencies.yml";
/// The one package of the conda file that the SDK makes.
const SDK_PACKAGE: &str = "azureml-defaults";

/// Returns where the packages are listed, if they are.
pub(super) fn read(
    around: &Surroundings<'_>,
    python: &Section<'_>,
    docker: bool,
    notes: &mut Vec<Note>,
) -> Result<Option<CondaChoice>, ConfigurationError> {
    let saved = around.saved_in.as_ref().map(|folder| folder.join(SAVED_FILE));
    let saved = saved.filter(|file| file.is_file());
    let file = match python.text("condaDependenciesFile")? {
        Some(file) => Some(around.project.join(file)),
        None => saved,
    };
    let listed = python.field("condaDependencies");
    let choice = match (listed, file) {
        (Some(field), file) => {
            if let (Some(_), Some(other)) = (file, python.field("condaDependenciesFile")) {
                let text = "has no effect here: condaDependencies lists the packages";
                notes.push(python.note(other, text));
            }
            check_mapping(python, field)?;
            note_untouched(python, "condaDependencies", field.value, docker, notes);
            let place = python.document.path.clone();
            Some(CondaChoice::Listed { text: field.value.to_yaml(), place })
        }
        (None, Some(file)) => {
            // A file that cannot be read is named where it is needed.
            if let Ok(document) = read_document(&file, &file) {
                note_untouched(python, "condaDependenciesFile", &document.root, docker, notes);
            }
            Some(CondaChoice::File(file))
        }
        (None, None) => None,
    };
    if let (Some(_), Some(field)) = (&choice, python.field("baseCondaEnvironment")) {
        let why = "has no effect here: the environment is made of its own packages, none is copied";
        notes.push(python.note(field, why));
    }
    Ok(choice)
}

/// An environment with nothing on top is itself, where its place is known.
pub(super) fn existing(
    python: &Section<'_>,
    notes: &mut Vec<Note>,
) -> Result<EnvironmentChoice, ConfigurationError> {
    let Some(field) = python.field("baseCondaEnvironment") else {
        return Ok(EnvironmentChoice::Default);
    };
    let base = python.text("baseCondaEnvironment")?.unwrap_or_default();
    if Path::new(&base).is_absolute() {
        let path = Path::new(&base).join("bin/python");
        return Ok(EnvironmentChoice::Interpreter { path });
    }
    let why = "has no effect here: where conda keeps an environment of that name is not known; \
               name its Python with --python PATH";
    notes.push(python.note(field, why));
    Ok(EnvironmentChoice::Default)
}

fn check_mapping(python: &Section<'_>, field: &Field<'_>) -> Result<(), ConfigurationError> {
    match field.value.entries() {
        Some(_) => Ok(()),
        None => Err(python.wrong(field, "a mapping, as in a conda file")),
    }
}

/// Says that nobody has written into the conda file yet. It is built all the same: it is what
/// Azure would build, and a script may import what is in it.
fn note_untouched(
    python: &Section<'_>,
    key: &str,
    conda: &Node,
    docker: bool,
    notes: &mut Vec<Note>,
) {
    if !is_untouched(conda) {
        return;
    }
    let text = format!(
        "lists only what the SDK puts there ({}, {SDK_PACKAGE}), and that is what is {}; packages \
         of your own go into it, or name another environment with --env or --python",
        python_of(conda).unwrap_or("python"),
        if docker { "put on top of the image" } else { "built" },
    );
    let place = python.field(key).map(|field| field.key);
    let at = place.unwrap_or(&python.document.root);
    notes.push(python.document.note(&format!("{}{key}", python.prefix()), at, text));
}

/// Tells whether a conda file has a Python and [`SDK_PACKAGE`] and nothing else.
fn is_untouched(conda: &Node) -> bool {
    let Some([one, other]) = dependencies(conda) else { return false };
    let (plain, mapping) = if one.entries().is_some() { (other, one) } else { (one, other) };
    let Some([(key, packages)]) = mapping.entries() else { return false };
    let Some([package]) = packages.items() else { return false };
    plain.text().is_some_and(is_python)
        && key.text() == Some("pip")
        && package.text() == Some(SDK_PACKAGE)
}

fn python_of(conda: &Node) -> Option<&str> {
    dependencies(conda)?.iter().filter_map(Node::text).find(|text| is_python(text))
}

fn is_python(text: &str) -> bool {
    text.strip_prefix("python").is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

fn dependencies(conda: &Node) -> Option<&[Node]> {
    let entries = conda.entries()?;
    entries.iter().find(|(key, _)| key.text() == Some("dependencies"))?.1.items()
}
