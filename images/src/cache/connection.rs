//! The engine: connected to when it is needed first, and again when it went away.

use std::sync::{Arc, Mutex, PoisonError};

use super::EnvironmentError;
use crate::builder::BuildError;
use crate::engine::{Engine, EngineError};
use crate::host::HostVariables;

/// The connection of a cache, if there is one.
#[derive(Debug, Default)]
pub(super) struct Connection(Mutex<Option<Arc<Engine>>>);

impl Connection {
    /// Does something with the engine. Where a connection from before turns out to be gone, a new
    /// one is tried: `act` has to be something that can be done twice.
    pub(super) fn with<T>(
        &self,
        host: &HostVariables,
        mut act: impl FnMut(&Arc<Engine>) -> Result<T, EnvironmentError>,
    ) -> Result<T, EnvironmentError> {
        let held = self.held().clone();
        if let Some(engine) = held {
            match act(&engine) {
                Err(error) if is_gone(&error) => *self.held() = None,
                other => return other,
            }
        }
        let engine = Arc::new(Engine::connect(host)?);
        *self.held() = Some(Arc::clone(&engine));
        act(&engine)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<Arc<Engine>>> {
        // A connection is there or not: no half of it is ever held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_gone(error: &EnvironmentError) -> bool {
    match error {
        EnvironmentError::Engine(error)
        | EnvironmentError::Build { source: BuildError::Engine(error) } => {
            matches!(error, EngineError::Gone { .. })
        }
        _ => false,
    }
}
