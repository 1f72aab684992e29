//! What a run is given of an environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::asked::Base;
use super::record::Record;
use crate::builder::docker::ResolvedBases;
use crate::environment::{DockerEnvironment, Environment, PreparedEnvironment, PreparedImage};
use crate::interpreter::InterpreterFacts;

/// Returns an environment of which nothing is built as runs see it.
pub(super) fn unbuilt(environment: &Environment, base: Base) -> PreparedEnvironment {
    match (environment, base) {
        (Environment::Docker { docker }, Base::Images { bases, .. }) => ready_image(docker, *bases),
        (_, Base::Interpreter(facts)) => user_managed(*facts),
        // Whatever is neither of them is built.
        (environment, _) => empty(super::subject::name(environment)),
    }
}

fn user_managed(facts: InterpreterFacts) -> PreparedEnvironment {
    let mut variables = BTreeMap::new();
    let prefix = facts.prefix.to_string_lossy().into_owned();
    if facts.prefix != facts.base_prefix {
        variables.insert("VIRTUAL_ENV".to_owned(), prefix);
    } else if facts.prefix.join("conda-meta").is_dir() {
        variables.insert("CONDA_PREFIX".to_owned(), prefix);
    }
    let name = format!("Python {} in {}", facts.version, facts.prefix.display());
    PreparedEnvironment {
        path_entries: facts.executable.parent().map(Path::to_owned).into_iter().collect(),
        interpreter: facts.executable,
        variables,
        prefix: facts.prefix,
        python_version: Some(facts.version),
        ..empty(name)
    }
}

fn ready_image(docker: &DockerEnvironment, bases: ResolvedBases) -> PreparedEnvironment {
    let name = super::subject::name(&Environment::Docker { docker: Box::new(docker.clone()) });
    let interpreter = docker.interpreter.clone().unwrap_or_else(|| "python".to_owned());
    let image = bases.base.map(|facts| PreparedImage {
        digest: digest_of(&name, &facts.digests),
        reference: name.clone(),
        search_path: facts.environment.get("PATH").cloned(),
        platform: facts.platform,
        id: facts.id,
        base_digest: None,
    });
    PreparedEnvironment { interpreter: PathBuf::from(interpreter), image, ..empty(name) }
}

/// Returns the digest by which the registry of `reference` knows the image, else the first.
fn digest_of(reference: &str, digests: &[String]) -> Option<String> {
    let (name, tag) = reference.rsplit_once(':').unwrap_or((reference, ""));
    // A colon before a slash belongs to a port.
    let name = if tag.contains('/') { reference } else { name };
    let name = name.split('@').next().unwrap_or(name);
    let same = digests.iter().find(|digest| digest.split('@').next() == Some(name));
    same.or_else(|| digests.first()).cloned()
}

/// Returns a built environment as runs see it.
pub(super) fn built(cache: &Path, record: Record, reused: bool) -> PreparedEnvironment {
    let short = record.key.short();
    let (what, interpreter, prefix) = match (&record.image, &record.facts) {
        (Some(image), _) => {
            ("image", PathBuf::from(&image.interpreter), PathBuf::from(&image.prefix))
        }
        (None, Some(facts)) => {
            let what = if record.kind == "conda" { "conda" } else { "venv" };
            (what, facts.prefix.join("bin/python"), facts.prefix.clone())
        }
        (None, None) => {
            let prefix = crate::builder::conda::prefix(&cache.join(&record.directory));
            ("conda", prefix.join("bin/python"), prefix)
        }
    };
    // An image's own PATH is right where nothing was put on top.
    let has_own = record.image.is_none() || !record.variables.is_empty();
    PreparedEnvironment {
        name: format!("{} → {what} {short}", record.definition),
        key: Some(record.key),
        interpreter,
        python_version: record.python_version,
        path_entries: if has_own { vec![prefix.join("bin")] } else { Vec::new() },
        prefix,
        variables: record.variables,
        reused,
        image: record.image.map(|image| image.image),
        lock: record.lock,
    }
}

fn empty(name: String) -> PreparedEnvironment {
    PreparedEnvironment {
        key: None,
        name,
        interpreter: PathBuf::new(),
        python_version: None,
        prefix: PathBuf::new(),
        variables: BTreeMap::new(),
        path_entries: Vec::new(),
        reused: true,
        image: None,
        lock: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_told_by_the_digest_of_the_registry_it_was_asked_from() {
        let digests = ["a/x@sha256:1".to_owned(), "host:5000/x@sha256:2".to_owned()];
        let of = |reference| digest_of(reference, &digests).unwrap();

        assert_eq!(of("host:5000/x:latest"), "host:5000/x@sha256:2");
        assert_eq!(of("host:5000/x"), "host:5000/x@sha256:2");
        assert_eq!(of("host:5000/x@sha256:2"), "host:5000/x@sha256:2");
        assert_eq!(of("a/x:1"), "a/x@sha256:1");
        assert_eq!(of("renamed"), "a/x@sha256:1");
        assert_eq!(digest_of("x", &[]), None);
    }
}
