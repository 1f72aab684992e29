//! Images: a generated Dockerfile or the user's own, built by the engine.

use secrecy::SecretString;

use crate::engine::{Engine, ImageFacts};
use crate::environment::DockerEnvironment;

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
