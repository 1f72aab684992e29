//! The output of a container whose image has nothing that could hand it on.

use std::fmt;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::query_parameters::AttachContainerOptionsBuilder;
use futures_util::StreamExt;

use crate::engine::{CALL_LIMIT, Engine, EngineError};

/// The output of a container that was attached to before it was started.
pub struct Attached {
    id: String,
    results: AttachContainerResults,
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Engine {
    /// Attaches to stdout and stderr of a container that is not started yet. See
    /// [`Attached::follow`].
    ///
    /// # Errors
    ///
    /// The engine refuses.
    pub fn attach(&self, id: &str) -> Result<Attached, EngineError> {
        self.runtime.block_on(self.attach_to(id))
    }

    pub(super) async fn attach_to(&self, id: &str) -> Result<Attached, EngineError> {
        super::lifecycle::plain(id)?;
        let options =
            AttachContainerOptionsBuilder::default().stream(true).stdout(true).stderr(true).build();
        let answer = self.docker.attach_container(id, Some(options));
        let results = self.within(CALL_LIMIT, answer).await?;
        Ok(Attached { id: id.to_owned(), results })
    }
}

impl Attached {
    /// Passes output on as it comes (`true`: stderr) until it ends or the engine goes away.
    ///
    /// # Errors
    ///
    /// The engine went away: output may be missing.
    pub fn follow(
        mut self,
        engine: &Engine,
        output: &mut dyn FnMut(bool, &[u8]),
    ) -> Result<(), EngineError> {
        // Output is handed on outside of the runtime, so that whoever gets it may ask the engine.
        while let Some((is_stderr, bytes)) = engine.runtime.block_on(self.next(engine))? {
            output(is_stderr, &bytes);
        }
        // An engine that goes away ends the stream just as a container does.
        engine.container(&self.id).map(drop)
    }

    pub(super) async fn next(
        &mut self,
        engine: &Engine,
    ) -> Result<Option<(bool, bytes::Bytes)>, EngineError> {
        match self.results.output.next().await {
            None => Ok(None),
            Some(Err(error)) => Err(engine.error(error)),
            Some(Ok(LogOutput::StdErr { message })) => Ok(Some((true, message))),
            Some(Ok(other)) => Ok(Some((false, other.into_bytes()))),
        }
    }
}
