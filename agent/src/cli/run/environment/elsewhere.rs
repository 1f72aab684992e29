//! Interpreters of a run that is for another machine: named here, found there.

use std::path::{Path, PathBuf};

use images::environment::Environment;
use runner::run_configuration::LOCAL_TARGET;

use super::{Chooser, Chosen};
use crate::api::wire::submission::SubmitRequest;
use crate::cli::Failure;
use crate::config::{Key, Origin, Settings};

/// What is used where nobody names another.
const DEFAULT: &str = "python3";

/// Names the Python that was asked for, else that of `--python`, else the machine's own. What other
/// settings say is about this machine.
pub(super) fn interpreter(
    path: Option<&Path>,
    settings: &Settings,
    target: &str,
) -> Result<PathBuf, Failure> {
    let flag = settings.get(Key::Python).filter(|setting| setting.origin == Origin::Flag);
    let asked = path.map(Path::to_owned).or_else(|| flag.map(|setting| setting.value.into()));
    let path = asked.unwrap_or_else(|| PathBuf::from(DEFAULT));
    let is_name = path.components().count() == 1;
    if path.is_absolute() || path.starts_with("~") || (is_name && !path.starts_with("..")) {
        return Ok(path);
    }
    let message = format!("{} is no place on {target}", path.display());
    Err(Failure::usage(message).hint(format!(
        "give an absolute path on {target}, '~/…' for one in the home directory there, or a name \
         on its PATH"
    )))
}

/// Says which interpreter an environment is based on, where nobody named it, and which setting does
/// not count.
pub(super) fn tell(chosen: &mut Chosen, chooser: &Chooser<'_>) {
    let Some(target) = &chooser.elsewhere else { return };
    let setting = chooser.settings.get(Key::Python);
    if let Some(setting) = setting {
        if setting.origin == Origin::Flag {
            return;
        }
        chosen.notes.push(format!(
            "the Python of {} is not used: it is one of this machine, not of {target}",
            setting.origin
        ));
    }
    match &chosen.environment {
        Environment::Requirements { interpreter, .. }
        | Environment::UvProject { interpreter, .. } => {
            chosen.notes.push(format!("it is based on {} of {target}", interpreter.display()));
        }
        _ => {}
    }
}

/// Makes `request` one for `target` of an agent that `is_here`, on this machine, or is not. Its
/// interpreter is looked for anew. Returns what is to be said of that.
///
/// # Errors
///
/// It is for this machine, which has no Python.
pub(in crate::cli) fn moved(
    request: &mut SubmitRequest,
    (target, is_here): (&str, bool),
    settings: &Settings,
) -> Result<Vec<String>, Failure> {
    request.target = target.to_owned();
    let (Environment::UserManaged { interpreter }
    | Environment::Requirements { interpreter, .. }
    | Environment::UvProject { interpreter, .. }) = &mut request.environment
    else {
        return Ok(Vec::new());
    };
    let before = interpreter.display().to_string();
    *interpreter = if target == LOCAL_TARGET && is_here {
        let choice = settings.path(Key::Python);
        let variable = |name: &str| std::env::var_os(name);
        images::interpreter::find(choice.as_deref(), &variable).map_err(|error| {
            let hint = error.hint();
            Failure::usage(error).maybe_hint(hint)
        })?
    } else {
        PathBuf::from(DEFAULT)
    };
    let now = interpreter.display().to_string();
    if let Environment::UserManaged { .. } = request.environment {
        request.environment_name = format!("{now} of {target}");
    }
    let note = format!("{now} of {target} takes the place of {before}");
    request.warnings.push(note.clone());
    Ok(vec![note])
}

#[cfg(test)]
mod tests {
    use super::*;
    use snapshots::digest::Digest;

    fn named(path: Option<&str>, setting: Option<&str>) -> String {
        let mut settings = Settings::default();
        if let Some(python) = setting {
            settings.set_flag(Key::Python, python);
        }
        match interpreter(path.map(Path::new), &settings, "gpu-vm") {
            Ok(path) => path.display().to_string(),
            Err(failure) => format!("{:?} {:?}", failure.message(), failure.next_step()),
        }
    }

    #[test]
    fn an_interpreter_of_another_machine_is_named_not_found() {
        assert_eq!(named(None, None), "python3");
        assert_eq!(named(None, Some("/opt/no/such/python")), "/opt/no/such/python");
        assert_eq!(named(Some("python3.11"), Some("/x")), "python3.11");
        assert_eq!(named(Some("~/venv/bin/python"), None), "~/venv/bin/python");
        for bad in ["venv/bin/python", "./python", "../python"] {
            assert!(named(Some(bad), None).contains("is no place on gpu-vm"), "{bad}");
        }
    }

    #[test]
    fn a_run_that_moves_takes_the_python_of_where_it_goes() {
        let mut request = crate::store::tests::request(Digest::of(b"source"));
        let notes = moved(&mut request, ("gpu-vm", true), &Settings::default()).unwrap();

        assert_eq!(request.target, "gpu-vm");
        assert_eq!(request.environment_name, "python3 of gpu-vm");
        assert_eq!(notes, ["python3 of gpu-vm takes the place of /usr/bin/python3"]);
        assert_eq!(request.environment.interpreter(), Some(Path::new("python3")));

        request.environment = Environment::Conda {
            packages: serde_json::from_str(r#"{"name": "conda.yml", "text": ""}"#).unwrap(),
        };
        let to_other = moved(&mut request, ("other-vm", true), &Settings::default());
        assert_eq!(to_other.unwrap(), [""; 0]);

        // The agent's own machine is another, too, for whoever asks it from afar.
        let mut request = crate::store::tests::request(Digest::of(b"source"));
        moved(&mut request, ("local", false), &Settings::default()).unwrap();
        assert_eq!(request.environment.interpreter(), Some(Path::new("python3")));
    }
}
