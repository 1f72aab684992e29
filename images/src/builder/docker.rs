//! Images: a generated Dockerfile or the user's own, built by the engine.

use secrecy::SecretString;

use crate::engine::{Engine, EngineError, ImageFacts};
use crate::environment::DockerEnvironment;
use crate::key::EnvironmentKey;

use super::{BuildError, Built, Watch, Workshop};

/// What an image will be built on, as far as it decides the result. Goes into the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedBases {
    /// For every image that is built on: its name as written, and the digest a registry knows it
    /// by, else its id. In the order of the Dockerfile; one for a ready image.
    pub(crate) images: Vec<(String, String)>,
    /// The platform: `linux/amd64`.
    pub(crate) platform: String,
    /// The last of them, or the ready image itself.
    pub(crate) base: Option<ImageFacts>,
}

/// Finds what `docker` is built on; pulls what the engine has not, and everything where `fresh`.
pub(crate) fn resolve(
    engine: &Engine,
    docker: &DockerEnvironment,
    password: Option<&SecretString>,
    fresh: bool,
    watch: &mut Watch<'_>,
) -> Result<ResolvedBases, BuildError> {
    let _ = (engine, docker, password, fresh, watch);
    todo!()
}

/// As [`resolve`], from what the engine has; `None` if an image is missing. Pulls nothing.
pub(crate) fn find(
    engine: &Engine,
    docker: &DockerEnvironment,
) -> Result<Option<ResolvedBases>, BuildError> {
    let _ = (engine, docker);
    todo!()
}

/// Builds the image.
pub(crate) fn build(
    workshop: &Workshop<'_>,
    engine: &Engine,
    docker: &DockerEnvironment,
    bases: &ResolvedBases,
    watch: &mut Watch<'_>,
) -> Result<Built, BuildError> {
    let _ = (workshop, engine, docker, bases, watch);
    todo!()
}

/// Returns our own name of the image of the environment `key`.
pub(crate) fn image_name(key: &EnvironmentKey) -> String {
    format!("trainyard-env:{}", &key.to_string()[..16])
}

/// Removes the image of the environment `key`. One that is not there is what was wanted.
///
/// # Errors
///
/// A container uses it, or the engine does not answer.
pub(crate) fn remove_image(engine: &Engine, key: &EnvironmentKey) -> Result<(), EngineError> {
    engine.remove_image(&image_name(key))
}

/// Removes the images of builds that did not come to their end, and those whose environment
/// `is_known` says is not there any more. Returns how many. Not while a build is under way.
///
/// # Errors
///
/// The engine does not answer.
pub(crate) fn sweep(
    engine: &Engine,
    home: &str,
    is_known: &dyn Fn(&EnvironmentKey) -> bool,
) -> Result<u64, EngineError> {
    let _ = (engine, home, is_known);
    todo!()
}
