//! A command in a container of its own, to its end.

use std::time::{Duration, Instant};

use super::{ContainerSpec, maker};
use crate::engine::{Engine, EngineError};

/// How much of each stream is kept.
const OUTPUT_LIMIT: usize = 4 << 20;

/// How long an engine that is being restarted may be away.
const RESTART_LIMIT: Duration = Duration::from_secs(10);
const RESTART_TICK: Duration = Duration::from_millis(250);

/// What a container is made for that only looks at something.
#[derive(Clone, Copy, Debug)]
pub struct ShortRun<'a> {
    /// The state directory, as a label.
    pub home: &'a str,
    /// In a word or two, as a label.
    pub purpose: &'a str,
    /// How long it may take.
    pub limit: Duration,
}

impl Engine {
    /// Runs a command in a new container without network to its end, removes the container, and
    /// returns its exit code and output (at most 4 MiB of each stream). If this process ends
    /// before, the container [is abandoned](super::OurContainer::is_abandoned).
    ///
    /// # Errors
    ///
    /// The engine refuses, or the limit has passed.
    pub fn run_container(
        &self,
        spec: &ContainerSpec,
        short: ShortRun<'_>,
    ) -> Result<(i64, Vec<u8>, Vec<u8>), EngineError> {
        let mut spec = spec.clone();
        "none".clone_into(&mut spec.network);
        spec.labels.extend(maker::labels(short.home, short.purpose));
        let limit = short.limit;
        self.runtime.block_on(async {
            let id = self.create(None, &spec).await?.id;
            let outcome = match tokio::time::timeout(limit, self.run_to_end(&id)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(EngineError::TimedOut { limit }),
            };
            let removed = self.remove_soon(&id).await;
            let outcome = outcome?;
            removed?;
            Ok(outcome)
        })
    }

    /// Removes it, also when the engine is being restarted: nobody else would.
    async fn remove_soon(&self, id: &str) -> Result<(), EngineError> {
        let until = Instant::now() + RESTART_LIMIT;
        loop {
            match self.remove(id).await {
                Err(_) if Instant::now() < until => tokio::time::sleep(RESTART_TICK).await,
                removed => return removed,
            }
        }
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

#[cfg(test)]
mod tests;
