//! A command in a container of its own, to its end.

use std::time::Duration;

use super::ContainerSpec;
use crate::engine::{Engine, EngineError, LABEL};

/// How much of each stream is kept.
const OUTPUT_LIMIT: usize = 4 << 20;

impl Engine {
    /// Runs a command in a new container without network to its end, removes the container, and
    /// returns its exit code and output (at most 4 MiB of each stream).
    ///
    /// # Errors
    ///
    /// The engine refuses, or `limit` has passed.
    pub fn run_container(
        &self,
        spec: &ContainerSpec,
        limit: Duration,
    ) -> Result<(i64, Vec<u8>, Vec<u8>), EngineError> {
        let mut spec = spec.clone();
        "none".clone_into(&mut spec.network);
        spec.labels.insert(LABEL.to_owned(), "1".to_owned());
        self.runtime.block_on(async {
            let id = self.create(None, &spec).await?.id;
            let outcome = match tokio::time::timeout(limit, self.run_to_end(&id)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(EngineError::TimedOut { limit }),
            };
            let removed = self.remove(&id).await;
            let outcome = outcome?;
            removed?;
            Ok(outcome)
        })
    }

    async fn run_to_end(&self, id: &str) -> Result<(i64, Vec<u8>, Vec<u8>), EngineError> {
        let mut attached = self.attach_to(id).await?;
        self.start(id).await?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some((is_stderr, bytes)) = attached.next(self).await? {
            let kept: &mut Vec<u8> = if is_stderr { &mut stderr } else { &mut stdout };
            let room = OUTPUT_LIMIT - kept.len();
            kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        self.wait(id).await?;
        let Some(state) = self.inspect(id).await? else {
            let message = "the container was removed while it ran".to_owned();
            return Err(EngineError::Refused { status: 404, message });
        };
        Ok((state.exit_code, stdout, stderr))
    }
}
