//! Images: a generated Dockerfile or the user's own, built by the engine.

mod bases;
mod contents;
mod given;
mod own;
mod packages;

use std::collections::{BTreeMap, BTreeSet};

use snapshots::digest::Hasher;

use self::given::Given;
use super::failure::{FailedBuild, FailureCause, last_lines};
use super::{BuildError, Built, BuiltImage, Watch, Workshop};
use crate::context::ContextWriter;
use crate::dockerfile::PREFIX;
use crate::engine::{
    BuildEnd, Engine, EngineError, HOME_LABEL, ImageBuild, ImageFacts, KEY_LABEL, LABEL,
};
use crate::environment::{DockerBase, DockerEnvironment, PreparedImage, RequirementsFile};
use crate::key::EnvironmentKey;

pub(crate) use self::bases::{ResolvedBases, find, resolve};
pub(crate) use self::contents::python_of;

/// How much of the end of the log is kept in memory, to tell why a build failed.
const TAIL_BYTES: usize = 32 << 10;

/// The repositories of our own names of images: what was built, and what it is built on.
const BUILT: &str = "trainyard-env";
const BASE: &str = "trainyard-base";

/// Builds the image. `previous` is the lock of an earlier build of the same, which is then made
/// again exactly, as far as the conda environment goes.
pub(crate) fn build(
    workshop: &Workshop<'_>,
    engine: &Engine,
    docker: &DockerEnvironment,
    bases: &ResolvedBases,
    previous: &[RequirementsFile],
    watch: &mut Watch<'_>,
) -> Result<Built, BuildError> {
    let given = Given::new(workshop, watch)?;
    let builder = Builder { workshop, engine, platform: docker.platform.as_deref(), given };
    match (&docker.base, &docker.packages) {
        (DockerBase::Dockerfile { .. }, None) => {
            let image = builder.own(docker, bases, &image_name(&workshop.key), watch)?;
            builder.finish(docker, bases, &image, packages::Added::default(), watch)
        }
        (DockerBase::Dockerfile { .. }, Some(wanted)) => {
            let name = base_name(&workshop.key, workshop.home);
            let image = builder.own(docker, bases, &name, watch)?;
            let added = builder.with_packages(docker, wanted, &image, &name, previous, watch);
            // Its layers stay for as long as what was built on it.
            let _removed = engine.remove_image(&name);
            let (image, added) = added?;
            builder.finish(docker, bases, &image, added, watch)
        }
        (DockerBase::Image { .. }, wanted) => {
            let gone = || EngineError::NoImage {
                reference: "the base".to_owned(),
                message: "it was not found".to_owned(),
            };
            let base = bases.base.as_ref().ok_or_else(gone)?;
            let Some(wanted) = wanted else {
                return builder.finish(docker, bases, base, packages::Added::default(), watch);
            };
            let name = builder.name_of(base)?;
            let added = builder.with_packages(docker, wanted, base, &name, previous, watch);
            if name.starts_with(BASE) && !base.tags.is_empty() {
                let _removed = engine.remove_image(&name);
            }
            let (image, added) = added?;
            builder.finish(docker, bases, &image, added, watch)
        }
    }
}

/// Returns our own name of the image of the environment `key`.
pub(crate) fn image_name(key: &EnvironmentKey) -> String {
    format!("{BUILT}:{}", short(key))
}

/// Returns our name, for as long as the build takes, of what the image of `key` is built on.
pub(crate) fn base_name(key: &EnvironmentKey, home: &str) -> String {
    let mut hasher = Hasher::new();
    hasher.update(home.as_bytes());
    hasher.update(key.to_string().as_bytes());
    format!("{BASE}:{}", hasher.finish().short(16))
}

fn short(key: &EnvironmentKey) -> String {
    let mut text = key.to_string();
    text.truncate(16);
    text
}

/// What the parts of a build share.
struct Builder<'a> {
    workshop: &'a Workshop<'a>,
    engine: &'a Engine,
    platform: Option<&'a str>,
    given: Given,
}

impl Builder<'_> {
    /// Returns what is said about every image that is built here, and how.
    fn image_build(&self, name: &str) -> ImageBuild {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        ImageBuild {
            dockerfile: "Dockerfile".to_owned(),
            name: name.to_owned(),
            labels: BTreeMap::from([
                label(LABEL, "1"),
                label(KEY_LABEL, &self.workshop.key.to_string()),
                label(HOME_LABEL, self.workshop.home),
            ]),
            network: self.workshop.settings.network.clone(),
            platform: self.platform.map(str::to_owned),
            fresh: self.workshop.fresh,
            ..ImageBuild::default()
        }
    }

    /// Returns a name by which a Dockerfile can ask for `image`, without a doubt and without a
    /// registry: with its digest, else one of ours, as no builder takes an id. It is this build's
    /// alone: one who is done takes it away.
    fn name_of(&self, image: &ImageFacts) -> Result<String, EngineError> {
        if let Some(name) = image.digests.first() {
            return Ok(name.clone());
        }
        let name = base_name(&self.workshop.key, self.workshop.home);
        self.engine.tag_image(&image.id, &name)?;
        Ok(name)
    }

    /// Has the engine build, and returns the image.
    fn run(
        &self,
        build: &ImageBuild,
        context: impl FnOnce(&mut ContextWriter<'_>) -> Result<(), BuildError> + Send,
        watch: &mut Watch<'_>,
    ) -> Result<ImageFacts, BuildError> {
        let mut tail: Vec<u8> = Vec::new();
        let log = &mut *watch.log;
        let end = self.engine.build_image(
            build,
            |out| {
                let mut writer = ContextWriter::new(out);
                context(&mut writer)?;
                Ok::<(), BuildError>(writer.finish()?)
            },
            &mut |bytes| {
                log(bytes);
                tail.extend_from_slice(bytes);
                if tail.len() > 2 * TAIL_BYTES {
                    tail.drain(..tail.len() - TAIL_BYTES);
                }
            },
            watch.cancel,
        );
        match end {
            Ok(BuildEnd::Image(id)) => {
                let gone = || EngineError::NoImage {
                    reference: build.name.clone(),
                    message: "it was removed as soon as it was built".to_owned(),
                };
                Ok(self.engine.image(&id)?.ok_or_else(gone)?)
            }
            Ok(BuildEnd::Failed(message)) => {
                let cause = FailureCause::guess(&String::from_utf8_lossy(&tail), "");
                let what = format!("the image could not be built: {message}");
                Err(BuildError::Failed(FailedBuild { what, cause, last_lines: last_lines(&tail) }))
            }
            Err(BuildError::Engine(EngineError::Cancelled)) => Err(BuildError::Cancelled),
            Err(error) => Err(error),
        }
    }

    /// Asks what is in the image and puts together what is known of it.
    fn finish(
        &self,
        docker: &DockerEnvironment,
        bases: &ResolvedBases,
        image: &ImageFacts,
        added: packages::Added,
        watch: &mut Watch<'_>,
    ) -> Result<Built, BuildError> {
        let is_added = added.interpreter.is_some();
        let asked = added.interpreter.as_deref().or(docker.interpreter.as_deref());
        let contents = contents::ask(self.engine, image, asked, self.workshop.home, watch)?;
        // Packages of conda need not have a Python that could say where it is.
        let prefix = match is_added && contents.prefix.is_empty() {
            true => PREFIX.to_owned(),
            false => contents.prefix,
        };
        // pip sees the packages of conda, too.
        let by_conda: BTreeSet<String> = added
            .conda
            .iter()
            .filter_map(|line| Some(plain_name(line.split('=').next()?)))
            .collect();
        let by_pip: Vec<String> = contents
            .packages
            .into_iter()
            .filter(|line| {
                let name = line.split(['=', ' ']).next().unwrap_or_default();
                !by_conda.contains(&plain_name(name))
            })
            .collect();
        let facts = self.engine.facts();
        let base_bytes = bases.base.as_ref().map_or(0, |base| base.bytes);
        let mut lock = added.lock;
        if added.locks_pip {
            lock.push(RequirementsFile {
                name: super::conda::PIP_LOCK.to_owned(),
                text: by_pip.iter().map(|line| format!("{line}\n")).collect(),
            });
        }
        let mut packages = added.conda;
        packages.extend(by_pip);
        Ok(Built {
            python: None,
            python_version: contents.version,
            packages,
            lock,
            built_by: format!("BuildKit of {} {}", facts.name, facts.version),
            image: Some(BuiltImage {
                image: PreparedImage {
                    id: image.id.clone(),
                    reference: image_name(&self.workshop.key),
                    digest: None,
                    base_digest: bases.base_digest(),
                    platform: image.platform.clone(),
                    search_path: image.environment.get("PATH").cloned(),
                },
                interpreter: contents.interpreter,
                prefix,
                dockerfile: match (&docker.base, added.dockerfile) {
                    (DockerBase::Dockerfile { text, .. }, None) => text.clone(),
                    (DockerBase::Dockerfile { name, text, .. }, Some(more)) => {
                        format!("# {name}\n{text}\n\n# On top of it\n{more}")
                    }
                    (DockerBase::Image { .. }, more) => more.unwrap_or_default(),
                },
                bytes: image.bytes.saturating_sub(base_bytes),
            }),
        })
    }
}

/// Returns the name of a package as all that mean it write it.
fn plain_name(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace(['_', '.'], "-")
}

#[cfg(test)]
mod tests;
