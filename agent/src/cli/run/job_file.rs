//! Job files in TOML: one or many runs, each with the keys that `trainyard run` has as options.
//!
//! ```toml
//! [[run]]
//! script = "train.py"
//! arguments = ["--lr", "0.1"]
//! env = "requirements.txt"
//! name = "lr-0.1"
//! tag = { sweep = "lr" }
//! ```
//!
//! A table becomes a command line, so that a key means what the option does, and one that is added
//! to `run` is one here. Paths are relative to the file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args as _, FromArgMatches};
use toml::{Table, Value};

use super::Args;
use crate::cli::Failure;

/// What has a key of its own, or no meaning for a run that nobody watches.
const NOT_KEYS: [&str; 7] = ["detach", "dry-run", "json", "raw", "help", "runconfig", "source"];

/// Reads the runs of `file`.
///
/// # Errors
///
/// It cannot be read, or says what `run` does not take; the run and the key are named.
pub(in crate::cli) fn read(file: &Path) -> Result<Vec<Args>, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read {shown}: {error}")))?;
    let mut root: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        Failure::usage(format!("{shown}:{line}: {}", error.message()))
    })?;
    let runs = match root.remove("run") {
        Some(Value::Array(runs)) => runs,
        Some(run @ Value::Table(_)) => vec![run],
        _ => {
            return Err(Failure::usage(format!("{shown} has no runs"))
                .hint("each is a table [[run]] with `script` or `command`"));
        }
    };
    if let Some(key) = root.keys().next() {
        return Err(Failure::usage(format!("{shown}: unknown key {key:?} beside the runs"))
            .hint("settings of the project are read from the trainyard.toml where you are"));
    }
    let directory = std::path::absolute(file).map_err(Failure::failed)?;
    let directory = directory.parent().unwrap_or_else(|| Path::new("/"));
    let one = |(index, run)| {
        let place = format!("{shown}, run {}", index + 1);
        let Value::Table(run) = run else {
            return Err(Failure::usage(format!("{place} is no table")));
        };
        arguments(run, directory).map_err(|problem| Failure::usage(format!("{place}: {problem}")))
    };
    runs.into_iter().enumerate().map(one).collect()
}

/// Reads one run as if it had been typed.
fn arguments(mut run: Table, directory: &Path) -> Result<Args, String> {
    let command =
        Args::augment_args(clap::Command::new("run")).no_binary_name(true).disable_help_flag(true);
    let source = match run.remove("source") {
        Some(Value::String(source)) => directory.join(source),
        Some(_) => return Err("source is the path of a directory".to_owned()),
        None => PathBuf::from(directory),
    };
    let mut typed: Vec<OsString> = vec!["--source".into(), source.into()];
    let script = run.remove("script");
    let given = run.remove("arguments");
    for (key, value) in &run {
        let known = |option: &clap::Arg| option.get_long() == Some(key.as_str());
        if NOT_KEYS.contains(&key.as_str()) || !command.get_arguments().any(known) {
            return Err(format!(
                "unknown key {key:?}; keys are script, arguments, source and the \
                                options of `trainyard run` without their dashes"
            ));
        }
        typed.extend(option(key, value)?.into_iter().map(OsString::from));
    }
    if let Some(script) = script {
        typed.push("--".into());
        typed.push(word("script", &script)?.into());
    }
    match given {
        None => {}
        Some(Value::Array(words)) => {
            let words: Result<Vec<_>, _> =
                words.iter().map(|value| word("arguments", value)).collect();
            typed.extend(words?.into_iter().map(OsString::from));
        }
        Some(_) => return Err("arguments is a list".to_owned()),
    }
    let parsed = command.try_get_matches_from(typed).and_then(|it| Args::from_arg_matches(&it));
    parsed.map_err(|error| {
        let text = error.to_string();
        text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })
}

/// Returns the options that a key stands for: one for each item of a list or table.
fn option(key: &str, value: &Value) -> Result<Vec<String>, String> {
    let with = |text: String| format!("--{key}={text}");
    Ok(match value {
        Value::Boolean(true) => vec![format!("--{key}")],
        Value::Boolean(false) => Vec::new(),
        Value::Array(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(|item| word(key, item)).collect();
            items?.into_iter().map(with).collect()
        }
        Value::Table(pairs) => {
            let pair =
                |(name, value): (&String, &Value)| Ok(format!("{name}={}", word(key, value)?));
            let pairs: Result<Vec<String>, String> = pairs.iter().map(pair).collect();
            pairs?.into_iter().map(with).collect()
        }
        value => vec![with(word(key, value)?)],
    })
}

fn word(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(_) | Value::Float(_) => Ok(value.to_string()),
        _ => Err(format!("{key} takes texts and numbers")),
    }
}

#[cfg(test)]
mod tests {
    use runner::sandbox::policy::SandboxMode;

    use super::*;

    fn read_text(text: &str) -> Result<Vec<Args>, Failure> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("jobs.toml");
        std::fs::write(&file, text).unwrap();
        read(&file)
    }

    fn refused(text: &str) -> String {
        let failure = read_text(text).unwrap_err();
        let message = failure.message().unwrap();
        message[message.find("jobs.toml").unwrap()..].to_owned()
    }

    #[test]
    fn a_run_is_what_it_would_be_on_a_command_line() {
        let runs = read_text(
            r#"
            [[run]]
            script = "train.py"
            arguments = ["--lr", 0.1, "-x"]
            name = "-odd"
            tag = { sweep = "lr", n = 3 }
            after = ["a", "b"]
            hold = true
            fresh = false
            cpus = 1.5
            priority = -2
            sandbox = "strict"
            network = "none"
            mount = ["/data", "/out:/o:rw"]

            [[run]]
            command = "make data"
            source = "../other"
            "#,
        )
        .unwrap();

        let [first, second] = &runs[..] else { panic!("{runs:?}") };
        assert_eq!(first.words(), ["train.py", "--lr", "0.1", "-x"]);
        assert_eq!(first.what.name.as_deref(), Some("-odd"));
        assert_eq!(first.what.tags, ["sweep=lr", "n=3"]);
        assert_eq!(first.waiting.after, ["a", "b"]);
        assert!(first.waiting.hold && !first.what.fresh);
        assert_eq!((first.machine.cpus, first.waiting.priority), (Some(1.5), Some(-2)));
        let mounts: Vec<String> = first.machine.mounts.iter().map(ToString::to_string).collect();
        assert_eq!(mounts, ["/data", "/out:/o:rw"]);
        assert_eq!(first.machine.sandbox, Some(SandboxMode::Strict));
        assert_eq!(first.machine.network.as_deref(), Some("none"));
        assert!(first.what.source.as_ref().unwrap().is_absolute());
        assert_eq!(second.command.as_deref(), Some("make data"));
        assert!(second.what.source.as_ref().unwrap().ends_with("../other"));
    }

    #[test]
    fn what_a_file_says_wrong_is_named_with_its_run() {
        let texts = [
            "a = ",
            "a = 1",
            "run = 1",
            "[[run]]\nscript = 'a'\n[[run]]\nepochs = 3",
            "[[run]]\ndetach = true",
            "[[run]]\ncpus = 'many'",
            "[[run]]\nscript = true",
            "[[run]]\narguments = 'a b'",
            "[[run]]\nscript = 'a'\ncommand = 'b'",
        ];
        insta::assert_snapshot!(texts.map(refused).join("\n"), @r#"
        jobs.toml:1: string values must be quoted, expected literal string
        jobs.toml has no runs
        jobs.toml has no runs
        jobs.toml, run 2: unknown key "epochs"; keys are script, arguments, source and the options of `trainyard run` without their dashes
        jobs.toml, run 1: unknown key "detach"; keys are script, arguments, source and the options of `trainyard run` without their dashes
        jobs.toml, run 1: invalid value 'many' for '--cpus <N>': invalid float literal
        jobs.toml, run 1: script takes texts and numbers
        jobs.toml, run 1: arguments is a list
        jobs.toml, run 1: the argument '--command <LINE>' cannot be used with '[SCRIPT [ARGS]]...'
        "#);
    }
}
