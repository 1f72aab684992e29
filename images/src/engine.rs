//! The container engine: Docker's, or Podman's that speaks the same API. The one home of bollard.
//!
//! Calls block; each [`Engine`] has a single-threaded runtime of its own, so none may be made from
//! asynchronous code.

mod build;
mod container;
mod error;
mod image;

use crate::host::HostVariables;

pub use self::build::{BuildEnd, ImageBuild};
pub use self::container::{
    Attached, ContainerSpec, ContainerState, CreatedContainer, Mount, OurContainer,
};
pub use self::error::EngineError;
pub use self::image::{ImageFacts, RegistryLogin};

/// A label on everything that is ours, so that it is told from others'.
pub const LABEL: &str = "trainyard";
/// The label that names a container's run.
pub const RUN_LABEL: &str = "trainyard.run";
/// The label that names the state directory whose agent made a thing.
pub const HOME_LABEL: &str = "trainyard.home";
/// The label that names an image's environment key.
pub const KEY_LABEL: &str = "trainyard.environment";

/// A connection to an engine.
#[derive(Debug)]
pub struct Engine {
    runtime: tokio::runtime::Runtime,
    docker: bollard::Docker,
    facts: EngineFacts,
}

/// What an engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFacts {
    /// Where it is spoken to, as `unix:///var/run/docker.sock`.
    pub address: String,
    /// `Docker` or `Podman`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of its API.
    pub api_version: String,
    /// As `linux/amd64`.
    pub platform: String,
    /// Whether it runs without root.
    pub rootless: bool,
    /// Whether it builds with BuildKit.
    pub buildkit: bool,
    /// Whether containers survive its restart.
    pub live_restore: bool,
    /// Whether it can give GPUs to containers.
    pub gpus: bool,
    /// Whether it has an init process to put before the container's own.
    pub init: bool,
    /// 1 or 2.
    pub cgroup_version: u8,
}

impl Engine {
    /// Connects to the engine that the variables name, or to the usual places, and asks it what it
    /// is.
    ///
    /// # Errors
    ///
    /// There is none, it is not ours to use, does not answer, or is too old.
    pub fn connect(variables: &HostVariables) -> Result<Self, EngineError> {
        let _ = variables;
        todo!()
    }

    /// Returns what it is.
    #[must_use]
    pub fn facts(&self) -> &EngineFacts {
        &self.facts
    }
}
