//! Run configurations from before 2019, which have no `environment` and, next to them, a file for
//! each compute target.

use std::path::Path;

use super::super::load::read_document;
use super::super::reading::{Document, Section, Spelling};
use super::super::{
    CondaChoice, ConfigurationError, EnvironmentChoice, LOCAL_TARGET, Note, RunConfiguration,
};

/// Keys that only such a file has.
const OLD_KEYS: [&str; 6] = [
    "argumentVector",
    "trackedRun",
    "condaDependenciesFile",
    "sparkDependenciesFile",
    "prepareEnvironment",
    "autoPrepareEnvironment",
];
/// Keys of a compute target's file that have their effect.
const TARGET_KEYS: [&str; 4] =
    ["type", "userManagedEnvironment", "pythonLocation", "condaDependenciesFile"];

/// Reads what such a file says in its own way: the program in `argumentVector`, the environment
/// in `condaDependenciesFile` and `<target>.compute`.
pub(super) fn read(
    run: &Section<'_>,
    project: &Path,
    configuration: &mut RunConfiguration,
    notes: &mut Vec<Note>,
) -> Result<(), ConfigurationError> {
    let Some(sign) = OLD_KEYS.iter().find_map(|key| run.written(key)) else { return Ok(()) };
    notes.push(run.note(sign, "is of a legacy run configuration, from before 2019"));
    let mut arguments = run.texts("argumentVector")?.into_iter();
    if let (None, Some(script)) = (&configuration.script, arguments.next()) {
        configuration.script = Some(script);
        configuration.arguments = arguments.collect();
    }
    if let Some(file) = run.text("condaDependenciesFile")? {
        configuration.environment = EnvironmentChoice::Conda(CondaChoice::File(project.join(file)));
    }
    let name = format!("{}.compute", configuration.target);
    let file = run.document.folder().join(&name);
    if !configuration.target.contains('/') && file.is_file() {
        let document = read_document(&file, name.as_ref())?;
        read_target(&document, project, configuration, notes)?;
    }
    Ok(())
}

fn read_target(
    document: &Document,
    project: &Path,
    configuration: &mut RunConfiguration,
    notes: &mut Vec<Note>,
) -> Result<(), ConfigurationError> {
    let target = Section::root(document, "", Spelling::Any)?;
    if target.text("type")?.as_deref() == Some("local") {
        LOCAL_TARGET.clone_into(&mut configuration.target);
    }
    if target.truth("userManagedEnvironment")?.unwrap_or(false) {
        let python = target.text("pythonLocation")?.filter(|path| path != "python");
        configuration.environment = match python {
            Some(path) if path.contains('/') => {
                EnvironmentChoice::Interpreter { path: project.join(path) }
            }
            Some(name) => EnvironmentChoice::Interpreter { path: name.into() },
            None => EnvironmentChoice::CurrentPython,
        };
    }
    for field in target.fields() {
        let known = TARGET_KEYS.iter().any(|key| {
            target.written(key).is_some_and(|written| std::ptr::eq(written.key, field.key))
        });
        if !known && !field.value.is_null() {
            notes.push(target.note(field, "has no effect here: the run is on this machine"));
        }
    }
    Ok(())
}
