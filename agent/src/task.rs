//! Tasks that end with their owner: the one door to the runtime.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::task::Poll;

use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

/// A spawned task that ends with its owner, unless it was detached.
#[must_use = "dropping a Task aborts it"]
#[derive(Debug)]
pub(crate) struct Task<T>(JoinHandle<T>, bool);

/// Spawns `future` inside `span`. The only caller of `tokio::spawn`; clippy's
/// `disallowed-methods` keeps it so.
pub(crate) fn spawn<T: Send + 'static>(
    span: Span,
    future: impl Future<Output = T> + Send + 'static,
) -> Task<T> {
    #[expect(clippy::disallowed_methods, reason = "this is the one wrapper")]
    Task(tokio::spawn(future.instrument(span)), true)
}

/// Carries out `work`, which blocks, away from the runtime's own threads. A panic in it goes on
/// in the caller. If the caller goes away meanwhile, the work is still done to its end.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let span = Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    done.unwrap_or_else(|error| panic::resume_unwind(error.into_panic()))
}

/// Carries out `future`; `Err` has what a panic in it said.
pub(crate) async fn caught<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = pin!(future);
    // What it has left half-done is not looked at again: it is dropped with it.
    let polled = poll_fn(|context| {
        let polled = panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(said) => Poll::Ready(Err(words(said.as_ref()))),
        }
    });
    polled.await
}

/// Returns what a panic said.
fn words(said: &(dyn Any + Send)) -> String {
    let text = said.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| said.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no reason".to_owned())
}

impl<T> Task<T> {
    /// Lets the task go on without an owner, to its own end or that of the runtime.
    pub(crate) fn detach(mut self) {
        self.1 = false;
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if self.1 {
            self.0.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_task_ends_with_its_owner() {
        let (held, ended) = oneshot::channel::<()>();
        let task = spawn(Span::none(), async move {
            std::future::pending::<()>().await;
            drop(held);
        });

        drop(task);

        // The sender is dropped with the task's future.
        ended.await.unwrap_err();
    }

    #[tokio::test]
    async fn a_panic_is_caught_with_its_words_and_here_and_on_other_threads() {
        let number = 7;
        assert_eq!(caught(async { number }).await, Ok(7));
        assert_eq!(caught(async { panic!("no luck") }).await, Err::<(), _>("no luck".to_owned()));
        let elsewhere = blocking(move || -> () { panic!("no luck {number}") });
        assert_eq!(caught(elsewhere).await, Err("no luck 7".to_owned()));
    }

    #[tokio::test]
    async fn a_task_that_was_let_go_goes_on_by_itself() {
        let (sender, receiver) = oneshot::channel();
        spawn(Span::none(), async { sender.send(7) }).detach();

        assert_eq!(receiver.await.unwrap(), 7);
        assert_eq!(blocking(|| 7).await, 7);
    }
}
