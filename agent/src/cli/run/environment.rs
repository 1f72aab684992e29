//! Which environment a run gets, in the documented order, and saying so.

use std::path::{Path, PathBuf};

use images::environment::Environment;
use runner::run_configuration::EnvironmentChoice;

use super::place::Source;
use crate::cli::Failure;
use crate::config::{Key, Origin, Settings};

/// The environment of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Chosen {
    /// What is sent to the agent.
    pub(in crate::cli) environment: Environment,
    /// What people call it.
    pub(in crate::cli) name: String,
    /// Why it is this one.
    pub(in crate::cli) because: String,
}

/// What is to be made of what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// The interpreter as it is.
    Interpreter(String),
    /// A requirements file.
    Requirements(PathBuf, String),
}

/// Files that say what a project needs, most telling first.
const FILES: &[&str] = &["uv.lock", "conda.yml", "environment.yml", "requirements.txt"];

/// Returns what `--env TEXT` asks for.
///
/// # Errors
///
/// It looks like a file and there is none.
pub(in crate::cli) fn asked(
    text: &str,
    source: &Source,
    current: &Path,
) -> Result<EnvironmentChoice, Failure> {
    if let Some(path) = source.file(Path::new(text), current) {
        return Ok(choice_of_file(path));
    }
    if text.contains(['/', '.']) {
        return Err(Failure::usage(format!("there is no environment file {text:?}")).hint(
            format!(
                "it was looked for in {} and in the current directory",
                source.directory().display()
            ),
        ));
    }
    Ok(EnvironmentChoice::Named { name: text.to_owned(), version: None })
}

fn choice_of_file(path: PathBuf) -> EnvironmentChoice {
    let is_yaml =
        path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml");
    if is_yaml {
        EnvironmentChoice::Conda { file: Some(path) }
    } else {
        EnvironmentChoice::File { path }
    }
}

/// Decides the environment. `configured` is what the flags and the run configuration ask for.
///
/// # Errors
///
/// What was asked for or found is not supported yet, or cannot be read, or there is no Python.
pub(in crate::cli) fn choose(
    configured: &EnvironmentChoice,
    settings: &Settings,
    source: &Source,
    current: &Path,
) -> Result<Chosen, Failure> {
    let mut python = settings.path(Key::Python);
    let found = match configured {
        EnvironmentChoice::Interpreter { path } => {
            python = Some(path.clone());
            Found::Interpreter("as asked for".to_owned())
        }
        EnvironmentChoice::CurrentPython => {
            Found::Interpreter("the current Python, as asked for".to_owned())
        }
        EnvironmentChoice::File { path } => of_file(path, source, "as asked for")?,
        EnvironmentChoice::Default => of_settings(settings, source, current)?,
        // The run configuration's own check has refused these already.
        EnvironmentChoice::Named { .. }
        | EnvironmentChoice::Conda { .. }
        | EnvironmentChoice::Docker(_) => return Err(Failure::not_yet("this environment")),
    };
    let variable = |name: &str| std::env::var_os(name);
    let interpreter = images::interpreter::find(python.as_deref(), &variable).map_err(|error| {
        let hint = error.hint();
        Failure::usage(error).maybe_hint(hint)
    })?;
    match found {
        Found::Interpreter(because) => Ok(Chosen {
            name: interpreter.display().to_string(),
            environment: Environment::UserManaged { interpreter },
            because,
        }),
        Found::Requirements(path, because) => {
            let files = images::definition::requirements::load(&path).map_err(|error| {
                let hint = error.hint();
                Failure::usage(error).maybe_hint(hint)
            })?;
            let name = path.strip_prefix(source.directory()).unwrap_or(&path);
            Ok(Chosen {
                name: name.display().to_string(),
                environment: Environment::Requirements { interpreter, files },
                because,
            })
        }
    }
}

/// Decides where neither flags nor a run configuration say anything.
fn of_settings(settings: &Settings, source: &Source, current: &Path) -> Result<Found, Failure> {
    if let Some(setting) = settings.get(Key::Env) {
        let text = setting.value.to_string_lossy();
        let because = format!("from {}", setting.origin);
        return match asked(&text, source, current)? {
            EnvironmentChoice::File { path } => of_file(&path, source, &because),
            EnvironmentChoice::Conda { file } => {
                Err(unsupported(file.as_deref().unwrap_or_else(|| Path::new("conda")), &because))
            }
            _ => Err(Failure::not_yet(format!("the registered environment {text:?} ({because})"))),
        };
    }
    match settings.get(Key::Python).map(|setting| setting.origin) {
        Some(Origin::Flag) => return Ok(Found::Interpreter("as asked for".to_owned())),
        Some(origin) => return Ok(Found::Interpreter(format!("from {origin}"))),
        None => {}
    }
    for name in FILES {
        let path = source.directory().join(name);
        if path.is_file() {
            return of_file(&path, source, "found in the source directory");
        }
    }
    Ok(Found::Interpreter("the current Python".to_owned()))
}

fn of_file(path: &Path, source: &Source, because: &str) -> Result<Found, Failure> {
    let Some(path) = source.file(path, Path::new("")) else {
        return Err(Failure::usage(format!("there is no environment file {}", path.display())));
    };
    let is_text = path.extension().is_some_and(|extension| extension == "txt" || extension == "in");
    if !is_text {
        return Err(unsupported(&path, because));
    }
    Ok(Found::Requirements(path, because.to_owned()))
}

fn unsupported(path: &Path, because: &str) -> Failure {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let kind = match path.extension().and_then(|extension| extension.to_str()) {
        Some("yml" | "yaml") => "conda environments",
        Some("lock" | "toml") => "environments of uv projects",
        _ if name.contains("ockerfile") => "Docker environments",
        _ => "environment files of this kind",
    };
    Failure::not_yet(format!("{kind} ({name}, {because})")).hint(
        "name another with --env requirements.txt, or use a Python that has the packages with --python PATH",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Project {
        dir: tempfile::TempDir,
        source: Source,
    }

    fn project(files: &[&str]) -> Project {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        let source = Source::open(dir.path()).unwrap();
        Project { dir, source }
    }

    /// Says in a line what is chosen in a project with `files` and settings made by flags.
    fn chosen(files: &[&str], made: &[(Key, &str)]) -> String {
        let project = project(files);
        let mut settings = Settings::default();
        for (key, value) in made {
            settings.set_flag(*key, value);
        }
        match of_settings(&settings, &project.source, project.dir.path()) {
            Ok(Found::Interpreter(because)) => format!("Python, {because}"),
            Ok(Found::Requirements(path, because)) => {
                format!("{}, {because}", path.file_name().unwrap().display())
            }
            Err(failure) => failure.message().unwrap(),
        }
    }

    #[test]
    fn the_first_of_the_documented_order_is_used() {
        let all = FILES;
        let table: Vec<_> = [
            (&[][..], &[][..]),
            (&["requirements.txt"], &[]),
            (&["requirements.txt", "environment.yml"], &[]),
            (&["conda.yml", "environment.yml"], &[]),
            (all, &[]),
            (all, &[(Key::Env, "requirements.txt")]),
            (all, &[(Key::Python, "/usr/bin/python3")]),
            (all, &[(Key::Python, "/usr/bin/python3"), (Key::Env, "requirements.txt")]),
            (all, &[(Key::Env, "conda.yml")]),
            (&[], &[(Key::Env, "missing.txt")]),
            (&[], &[(Key::Env, "sklearn")]),
            (&["Dockerfile"], &[(Key::Env, "Dockerfile")]),
        ]
        .iter()
        .map(|(files, made)| {
            let made_by: Vec<_> = made.iter().map(|(_, value)| *value).collect();
            format!("{} [{}] → {}", files.join(" "), made_by.join(" "), chosen(files, made))
        })
        .collect();

        insta::assert_snapshot!(table.join("\n"), @r#"
         [] → Python, the current Python
        requirements.txt [] → requirements.txt, found in the source directory
        requirements.txt environment.yml [] → not yet in this version: conda environments (environment.yml, found in the source directory)
        conda.yml environment.yml [] → not yet in this version: conda environments (conda.yml, found in the source directory)
        uv.lock conda.yml environment.yml requirements.txt [] → not yet in this version: environments of uv projects (uv.lock, found in the source directory)
        uv.lock conda.yml environment.yml requirements.txt [requirements.txt] → requirements.txt, from option
        uv.lock conda.yml environment.yml requirements.txt [/usr/bin/python3] → Python, as asked for
        uv.lock conda.yml environment.yml requirements.txt [/usr/bin/python3 requirements.txt] → requirements.txt, from option
        uv.lock conda.yml environment.yml requirements.txt [conda.yml] → not yet in this version: conda environments (conda.yml, from option)
         [missing.txt] → there is no environment file "missing.txt"
         [sklearn] → not yet in this version: the registered environment "sklearn" (from option)
        Dockerfile [Dockerfile] → not yet in this version: Docker environments (Dockerfile, from option)
        "#);
    }
}
