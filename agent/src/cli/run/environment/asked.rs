//! What a text asks for: `--env TEXT`, `TRAINYARD_ENV`, `env = "TEXT"`.

use std::path::Path;

use runner::run_configuration::{DockerChoice, EnvironmentChoice, PackagesChoice};

use super::definition::{self, Kind};
use crate::cli::Failure;
use crate::cli::run::place::Source;

/// Files that say what a project needs, most telling first. A `pyproject.toml` without a lock is
/// there for many other reasons, so it has to be asked for.
pub(super) const FILES: &[&str] = &["uv.lock", "conda.yml", "environment.yml", "requirements.txt"];

/// Returns what `--env TEXT` asks for.
///
/// # Errors
///
/// It is a path and there is nothing.
pub(in crate::cli) fn asked(
    text: &str,
    source: &Source,
    current: &Path,
) -> Result<EnvironmentChoice, Failure> {
    if let Some(image) = text.strip_prefix("docker://").or_else(|| text.strip_prefix("docker:")) {
        if image.is_empty() {
            return Err(Failure::usage(format!("{text:?} names no image"))
                .hint("write --env docker:IMAGE, or --docker IMAGE"));
        }
        return Ok(EnvironmentChoice::Docker(Box::new(DockerChoice::of_image(image))));
    }
    if let Some(path) = source.definition(Path::new(text), current) {
        return Ok(EnvironmentChoice::File { path });
    }
    if text.contains('/') && !text.starts_with("azureml:") {
        return Err(missing(text, source));
    }
    Ok(EnvironmentChoice::named(text))
}

/// Returns what `--env TEXT` puts on top of `--docker IMAGE`.
///
/// # Errors
///
/// It is no file that lists packages.
pub(in crate::cli) fn packages_on_top(
    text: &str,
    source: &Source,
    current: &Path,
) -> Result<PackagesChoice, Failure> {
    let path = source.definition(Path::new(text), current).ok_or_else(|| missing(text, source))?;
    match definition::kind(&path)? {
        Kind::Dockerfile => Err(Failure::usage(format!(
            "{text} makes an image of its own, so it cannot be put on top of one"
        ))
        .hint("leave --docker out, or name a file that lists packages")),
        _ => Ok(PackagesChoice::File(path)),
    }
}

fn missing(text: &str, source: &Source) -> Failure {
    Failure::usage(format!("there is no environment file {text:?}")).hint(format!(
        "it was looked for in {} and in the current directory",
        source.directory().display()
    ))
}
