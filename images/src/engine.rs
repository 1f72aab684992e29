//! The container engine: Docker's. The one home of bollard.
//!
//! Calls block; each [`Engine`] has a single-threaded runtime of its own, so none may be made from
//! asynchronous code. Dropped it may be anywhere.

mod address;
mod answer;
mod build;
mod connection;
mod container;
mod dead_end;
mod docker_context;
mod error;
mod facts;
mod image;
mod place;
mod runtime;
mod tls_files;

use std::future::Future;
use std::time::Duration;

use crate::host::HostVariables;

use self::address::Address;
pub use self::build::{BuildEnd, ImageBuild};
pub use self::container::{
    Attached, ContainerSpec, ContainerState, CreatedContainer, Mount, OurContainer, ShortRun,
};
pub use self::dead_end::DEAD_END;
pub use self::error::EngineError;
pub use self::facts::{EngineFacts, EngineLimits};
pub use self::image::{ImageFacts, RegistryLogin};
pub use self::place::{EngineOrigin, EnginePlace};
use self::runtime::Runtime;

/// A label on everything that is ours, so that it is told from others'.
pub const LABEL: &str = "trainyard";
/// The label that names a container's run.
pub const RUN_LABEL: &str = "trainyard.run";
/// The label that names the state directory whose agent made a thing.
pub const HOME_LABEL: &str = "trainyard.home";
/// The label that says what a container is for that is no run's.
pub const PURPOSE_LABEL: &str = "trainyard.purpose";
/// The label that names the process which made a container that is no run's.
pub const MAKER_LABEL: &str = "trainyard.maker";
/// The label that names an image's environment key.
pub const KEY_LABEL: &str = "trainyard.environment";

/// How long an engine may take to say what it is.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How long an engine may take to begin an answer. Generous: a busy disk makes it slow.
const CALL_LIMIT: Duration = Duration::from_secs(120);

/// A connection to an engine.
#[derive(Debug)]
pub struct Engine {
    runtime: Runtime,
    docker: bollard::Docker,
    address: Address,
    facts: EngineFacts,
    variables: HostVariables,
}

impl Engine {
    /// Connects to the engine that the variables or `docker`'s own files name, or to the usual
    /// places, and asks it what it is.
    ///
    /// # Errors
    ///
    /// There is none, it is not ours to use, does not answer, or is too old.
    pub fn connect(variables: &HostVariables) -> Result<Self, EngineError> {
        let EnginePlace { first, others, .. } = EnginePlace::find(variables)?;
        let runtime =
            Runtime::new().map_err(|source| EngineError::gone(&first.to_string(), source))?;
        let opened = runtime.block_on(connection::open(&first, &others, CONNECT_LIMIT))?;
        let (address, docker, facts) = opened;
        Ok(Self { runtime, docker, address, facts, variables: variables.clone() })
    }

    /// Returns what it is.
    #[must_use]
    pub fn facts(&self) -> &EngineFacts {
        &self.facts
    }

    /// Waits for `answer`, for as long as any call may take.
    fn call<T>(
        &self,
        answer: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        self.runtime.block_on(self.within(CALL_LIMIT, answer))
    }

    /// The same for asynchronous code.
    async fn within<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(|error| self.error(error)),
            Err(elapsed) => Err(EngineError::gone(&self.facts.address, elapsed)),
        }
    }

    /// Translates what bollard says.
    fn error(&self, error: bollard::errors::Error) -> EngineError {
        answer::error(&self.facts.address, error)
    }
}
