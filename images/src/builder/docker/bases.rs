//! What an image will be built on: found, or pulled.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::super::{BuildError, Watch};
use crate::definition::DefinitionError;
use crate::definition::dockerfile::{Dockerfile, ImageUse, Reading};
use crate::engine::{Engine, EngineError, ImageFacts, RegistryLogin};
use crate::environment::{DockerBase, DockerEnvironment};

/// What an image will be built on, as far as it decides the result. Goes into the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedBases {
    /// For every image that is built on: its name as written, and the digest a registry knows it
    /// by, else its id. In the order of the Dockerfile; one for a ready image.
    pub(crate) images: Vec<(String, String)>,
    /// The platform: `linux/amd64`.
    pub(crate) platform: String,
    /// What the result is based on, or the ready image itself. `None` for one made from scratch.
    pub(crate) base: Option<ImageFacts>,
}

impl ResolvedBases {
    /// Returns what the base is known by: a digest of a registry's, else its id.
    pub(super) fn base_digest(&self) -> Option<String> {
        self.base.as_ref().map(|base| digest_of(base, ""))
    }
}

/// Finds what `docker` is built on; pulls what the engine has not, and everything where `fresh`.
pub(crate) fn resolve(
    engine: &Engine,
    docker: &DockerEnvironment,
    password: Option<&SecretString>,
    fresh: bool,
    watch: &mut Watch<'_>,
) -> Result<ResolvedBases, BuildError> {
    let mut had = |image: &Wanted<'_>| -> Result<Option<ImageFacts>, BuildError> {
        let here = image.of_engine(engine)?;
        // One that no registry has was made here: nothing is fresher.
        let is_own = here.as_ref().is_some_and(|facts| facts.digests.is_empty());
        if here.is_some() && (!fresh || is_own) {
            return Ok(here);
        }
        let login = login(docker, password, image.reference);
        let pulled =
            engine.pull(image.reference, image.platform, login.as_ref(), watch.log, watch.cancel);
        match pulled {
            Ok(facts) => Ok(Some(facts)),
            Err(EngineError::Cancelled) => Err(BuildError::Cancelled),
            // What the engine has builds without it.
            Err(EngineError::NoImage { .. } | EngineError::Unreachable { .. })
                if image.is_optional =>
            {
                let what = image.reference;
                (watch.log)(
                    format!("{what} cannot be pulled: its # syntax= line is left out\n").as_bytes(),
                );
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    };
    let resolved = all(engine, docker, &mut had)?;
    // None is missing: it was pulled, or that was an error.
    Ok(resolved.unwrap_or_else(|| ResolvedBases {
        images: Vec::new(),
        platform: platform(engine, docker).to_owned(),
        base: None,
    }))
}

/// As [`resolve`], from what the engine has; `None` if an image is missing. Pulls nothing.
pub(crate) fn find(
    engine: &Engine,
    docker: &DockerEnvironment,
) -> Result<Option<ResolvedBases>, BuildError> {
    all(engine, docker, &mut |image| Ok(image.of_engine(engine)?))
}

/// An image that is needed.
struct Wanted<'a> {
    reference: &'a str,
    platform: Option<&'a str>,
    is_optional: bool,
}

impl Wanted<'_> {
    /// Returns it as the engine has it, if that is of the platform that is asked for.
    fn of_engine(&self, engine: &Engine) -> Result<Option<ImageFacts>, EngineError> {
        let found = engine.image(self.reference)?;
        Ok(found.filter(|found| {
            self.platform.is_none_or(|wanted| {
                // `linux/arm64/v8` is a `linux/arm64`.
                found.platform == wanted || found.platform.starts_with(&format!("{wanted}/"))
            })
        }))
    }
}

/// Asks `had` for every image; `None` if it has not got one.
fn all(
    engine: &Engine,
    docker: &DockerEnvironment,
    had: &mut dyn FnMut(&Wanted<'_>) -> Result<Option<ImageFacts>, BuildError>,
) -> Result<Option<ResolvedBases>, BuildError> {
    let platform = platform(engine, docker).to_owned();
    let asked = docker.platform.as_deref();
    let (uses, base, syntax) = match &docker.base {
        DockerBase::Image { reference } => {
            (vec![(reference.clone(), asked.map(str::to_owned))], Some(0), None)
        }
        DockerBase::Dockerfile { .. } => {
            let dockerfile = parse(docker, &platform)?;
            let base = dockerfile.base.as_ref().and_then(|base| {
                let is_base = |image: &ImageUse| {
                    (&image.reference, &image.platform) == (&base.reference, &base.platform)
                };
                dockerfile.images.iter().position(is_base)
            });
            let of = |image: &ImageUse| {
                let platform = image.platform.clone().or_else(|| asked.map(str::to_owned));
                (image.reference.clone(), platform)
            };
            (dockerfile.images.iter().map(of).collect(), base, dockerfile.syntax)
        }
    };
    let mut found = ResolvedBases { images: Vec::new(), platform, base: None };
    for (at, (reference, platform)) in uses.iter().enumerate() {
        let wanted = Wanted { reference, platform: platform.as_deref(), is_optional: false };
        let Some(facts) = had(&wanted)? else { return Ok(None) };
        found.images.push((reference.clone(), digest_of(&facts, reference)));
        if base == Some(at) {
            found.base = Some(facts);
        }
    }
    if let Some(syntax) = syntax {
        // Those of Docker only add to what the engine's own frontend can.
        let is_optional = is_dockers(&syntax);
        let wanted = Wanted { reference: &syntax, platform: None, is_optional };
        if let Some(facts) = had(&wanted)? {
            found.images.push((syntax.clone(), digest_of(&facts, &syntax)));
        }
    }
    Ok(Some(found))
}

fn platform<'a>(engine: &'a Engine, docker: &'a DockerEnvironment) -> &'a str {
    docker.platform.as_deref().unwrap_or(&engine.facts().platform)
}

/// Reads the user's Dockerfile.
fn parse(docker: &DockerEnvironment, platform: &str) -> Result<Dockerfile, DefinitionError> {
    let DockerBase::Dockerfile { name, text, build_arguments, target, .. } = &docker.base else {
        return Ok(Dockerfile::default());
    };
    let target = target.as_deref();
    let reading = Reading { name, arguments: build_arguments, target, platform };
    Dockerfile::parse(text, &reading)
}

/// Whether a frontend is one of Docker's own.
pub(super) fn is_dockers(syntax: &str) -> bool {
    let name = syntax.strip_prefix("docker.io/").unwrap_or(syntax);
    name.strip_prefix("docker/dockerfile")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// Returns what `image` is known by: the digest under the name it was asked for by, else another,
/// else its id.
fn digest_of(image: &ImageFacts, reference: &str) -> String {
    let repository = reference.split('@').next().unwrap_or_default();
    let repository = match repository.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => repository,
    };
    let same = |digest: &&String| digest.split('@').next() == Some(repository);
    let digest = image.digests.iter().find(same).or_else(|| image.digests.first());
    digest.unwrap_or(&image.id).clone()
}

/// Returns the definition's login, for images of its registry only.
fn login(
    docker: &DockerEnvironment,
    password: Option<&SecretString>,
    reference: &str,
) -> Option<RegistryLogin> {
    let (registry, password) = (docker.registry.as_ref()?, password?);
    is_at(&registry.address, reference).then(|| RegistryLogin {
        address: registry.address.clone(),
        username: registry.username.clone(),
        password: password.clone(),
    })
}

/// Whether an image comes from the registry at `address`.
fn is_at(address: &str, reference: &str) -> bool {
    const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let address = address.split('/').next().unwrap_or_default();
    let host = match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    };
    host == address || HUB.contains(&host) && HUB.contains(&address)
}

/// Returns the predefined proxy arguments of the host, which no image keeps.
pub(super) fn proxies(host: &crate::host::HostVariables) -> BTreeMap<String, String> {
    const NAMES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"];
    let both = NAMES.iter().flat_map(|name| [(*name).to_owned(), name.to_ascii_uppercase()]);
    let set = both.filter_map(|name| {
        let value = host.get(&name)?.to_str()?.to_owned();
        Some((name, value))
    });
    set.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_for_its_own_registry_only() {
        for (address, reference, same) in [
            ("reg.example.com:5000", "reg.example.com:5000/a/b:1", true),
            ("https://reg.example.com/v2/", "reg.example.com/a", true),
            ("reg.example.com", "reg.example.com.evil/a", false),
            ("reg.example.com", "python:3.11", false),
            ("https://index.docker.io/v1/", "python:3.11", true),
            ("docker.io", "me/private", true),
            ("docker.io", "localhost/a", false),
        ] {
            assert_eq!(is_at(address, reference), same, "{address} {reference}");
        }
    }

    #[test]
    fn the_digest_is_that_of_the_name_which_was_asked_for() {
        let mut image = ImageFacts {
            id: "sha256:id".to_owned(),
            digests: vec!["a@sha256:1".to_owned(), "r:5000/b@sha256:2".to_owned()],
            tags: Vec::new(),
            platform: String::new(),
            bytes: 0,
            environment: BTreeMap::new(),
            labels: BTreeMap::new(),
            user: String::new(),
        };

        assert_eq!(digest_of(&image, "r:5000/b:x"), "r:5000/b@sha256:2");
        assert_eq!(digest_of(&image, "r:5000/b"), "r:5000/b@sha256:2");
        assert_eq!(digest_of(&image, "c"), "a@sha256:1");
        image.digests.clear();
        assert_eq!(digest_of(&image, "a"), "sha256:id");
    }

    #[test]
    fn frontends_of_docker_can_be_done_without() {
        assert!(is_dockers("docker/dockerfile:1") && is_dockers("docker.io/docker/dockerfile"));
        assert!(!is_dockers("docker/dockerfile-upstream:x") && !is_dockers("me/dockerfile:1"));
    }
}
