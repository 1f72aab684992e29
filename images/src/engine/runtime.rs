//! The runtime of an engine's connections.

use std::ops::Deref;

/// A runtime that may be dropped anywhere. tokio's own panics when that is in asynchronous code,
/// as it waits for its threads; of ours none is worth waiting for.
#[derive(Debug)]
pub(super) struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    pub(super) fn new() -> std::io::Result<Self> {
        tokio::runtime::Builder::new_current_thread().enable_all().build().map(|it| Self(Some(it)))
    }
}

impl Deref for Runtime {
    type Target = tokio::runtime::Runtime;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref().expect("only dropping takes it")
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_may_be_dropped_in_asynchronous_code() {
        // As connections are made: off the threads that carry out asynchronous code.
        let made = tokio::task::spawn_blocking(|| {
            let runtime = Runtime::new().unwrap();
            // Something goes on in it, as when an engine is spoken to.
            runtime.spawn(std::future::pending::<()>());
            runtime.block_on(runtime.spawn_blocking(|| {})).unwrap();
            runtime
        });
        drop(made.await.unwrap());
    }
}
