//! `trainyard env show`: all that is known of a built environment.

use std::fmt::Write;

use images::cache::EnvironmentDetails;
use images::environment::RequirementsFile;

use super::which;
use crate::cli::context::SCHEMA_VERSION;
use crate::cli::following::Printer;
use crate::cli::{Context, Exit, Failure, Outcome};
use crate::client::{Client, Start};
use crate::terminal::build_log::BuildLog;
use crate::terminal::{Plain, measure};

/// Shows an environment with its packages
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  trainyard env show 5e1f20ab
  trainyard env show 5e1f20ab --lock > requirements.lock")]
pub(in crate::cli) struct Args {
    /// An environment's key or a unique beginning of it
    #[arg(value_name = "KEY")]
    key: String,
    #[command(flatten)]
    part: Part,
}

/// What of it to show.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Part {
    /// Shows the log of its build
    #[arg(long)]
    log: bool,
    /// Prints what was resolved: what builds the same again
    #[arg(long)]
    lock: bool,
    /// Prints the Dockerfile that its image was built by
    #[arg(long)]
    dockerfile: bool,
    /// Prints one JSON document
    #[arg(long)]
    json: bool,
}

/// Shows an environment.
pub(super) fn show(args: &Args, context: &Context) -> Outcome {
    let (client, _) = context.agent(Start::IfNone)?;
    if args.part.log {
        return log(&args.key, &client, context);
    }
    if args.part.json {
        // As the agent has it, so that what a newer agent adds is not lost.
        let details: serde_json::Value = get(&args.key, &client, context)?;
        let mut document = serde_json::json!({ "schemaVersion": SCHEMA_VERSION });
        if let (Some(document), serde_json::Value::Object(details)) =
            (document.as_object_mut(), details)
        {
            document.extend(details);
        }
        context.print_json(&document)?;
        return Ok(Exit::OK);
    }
    let details: EnvironmentDetails = get(&args.key, &client, context)?;
    if args.part.lock {
        context.print(lock(&details)?)?;
    } else if args.part.dockerfile {
        let text = details.dockerfile.ok_or_else(|| {
            Failure::failed(format!("environment {} is no image", details.entry.key.short()))
        })?;
        context.print(text)?;
    } else {
        context.print(page(&details))?;
    }
    Ok(Exit::OK)
}

fn get<T: serde::de::DeserializeOwned>(
    key: &str,
    client: &Client,
    context: &Context,
) -> Result<T, Failure> {
    let details = context.wait_for(async { Ok(client.get(&["environments", key], &()).await?) });
    details.map_err(which)
}

/// Returns what was resolved. Several files are told apart by a line with their name.
fn lock(details: &EnvironmentDetails) -> Result<String, Failure> {
    match details.lock.as_slice() {
        [] => Err(Failure::failed(format!(
            "environment {} has no lock: it was built by an older version",
            details.entry.key.short()
        ))
        .hint("`trainyard env build --fresh` resolves it again and keeps what came of it")),
        [only] => Ok(only.text.clone()),
        several => {
            let with_name = |file: &RequirementsFile| format!("# {}\n{}\n", file.name, file.text);
            Ok(several.iter().map(with_name).collect())
        }
    }
}

fn page(details: &EnvironmentDetails) -> String {
    let entry = &details.entry;
    let mut python = entry.python_version.clone().unwrap_or_default();
    if let Some(base) = &details.base {
        python += &format!(" ({})", base.executable.display());
    }
    let image = entry.image.as_ref();
    let lock = details.lock.iter().map(|file| file.name.as_str()).collect::<Vec<_>>().join(", ");
    let facts = [
        ("Key", entry.key.to_string()),
        ("Kind", entry.kind.clone()),
        ("Definition", entry.definition.clone()),
        ("Python", python),
        ("Image", image.map(|image| image.reference.clone()).unwrap_or_default()),
        ("Image id", image.map(|image| image.id.clone()).unwrap_or_default()),
        ("Built on", image.and_then(|image| image.base_digest.clone()).unwrap_or_default()),
        ("Built by", entry.built_by.clone()),
        ("Size", measure::size(entry.bytes)),
        ("Directory", entry.path.display().to_string()),
        ("Lock", lock),
        ("Packages", details.packages.len().to_string()),
    ];
    let mut text = String::new();
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(text, "{name:<11} {}", Plain(value)).expect("a string takes every text");
    }
    for package in &details.packages {
        writeln!(text, "  {}", Plain(package)).expect("a string takes every text");
    }
    text
}

fn log(key: &str, client: &Client, context: &Context) -> Outcome {
    let bytes = context
        .wait_for(async { Ok(client.get_bytes(&["environments", key, "log"]).await?) })
        .map_err(which)?;
    let mut printer = Printer::new(&context.terminal, false);
    printer.write(&BuildLog::readable(&bytes))?;
    printer.finish()?;
    Ok(Exit::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details() -> EnvironmentDetails {
        serde_json::from_value(serde_json::json!({
            "key": "5e1f20ab".repeat(8), "kind": "docker", "definition": "requirements.txt",
            "pythonVersion": "3.11.7",
            "image": {
                "id": "sha256:01", "reference": "trainyard-env:5e1f", "platform": "linux/amd64",
                "baseDigest": "python@sha256:02",
            },
            "bytes": 120_000_000, "createdTimeUtc": "2026-11-21T08:00:00Z",
            "lastUsedTimeUtc": "2026-11-21T09:00:00Z", "inUse": true, "path": "/e", "log": "/l",
            "builtBy": "pip 24.0", "packages": ["six==1.17.0"], "files": [],
            "lock": [{"name": "requirements.lock", "text": "six==1.17.0\n"}],
            "dockerfile": "FROM python\n",
        }))
        .unwrap()
    }

    #[test]
    fn an_image_is_shown_with_what_it_was_built_on() {
        insta::assert_snapshot!(page(&details()), @r#"
        Key         5e1f20ab5e1f20ab5e1f20ab5e1f20ab5e1f20ab5e1f20ab5e1f20ab5e1f20ab
        Kind        docker
        Definition  requirements.txt
        Python      3.11.7
        Image       trainyard-env:5e1f
        Image id    sha256:01
        Built on    python@sha256:02
        Built by    pip 24.0
        Size        120.0 MB
        Directory   /e
        Lock        requirements.lock
        Packages    1
          six==1.17.0
        "#);
    }

    #[test]
    fn a_lock_is_printed_as_it_is_and_several_with_their_names() {
        let mut details = details();
        assert_eq!(lock(&details).unwrap(), "six==1.17.0\n");

        let other =
            RequirementsFile { name: "conda.lock".to_owned(), text: "@EXPLICIT".to_owned() };
        details.lock.push(other);
        let both = "# requirements.lock\nsix==1.17.0\n\n# conda.lock\n@EXPLICIT\n";
        assert_eq!(lock(&details).unwrap(), both);

        details.lock.clear();
        let failure = lock(&details).unwrap_err();
        assert!(failure.next_step().is_some());
    }
}
