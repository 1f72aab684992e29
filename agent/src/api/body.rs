//! Reading request bodies: said to be what they are, no longer than allowed.

use std::error::Error;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{self, Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use futures_util::StreamExt;
use http_body::{Frame, SizeHint};
use serde::de::DeserializeOwned;
use tokio::time::{Sleep, sleep};
use tracing::debug_span;

use super::error::ApiError;
use crate::task;

/// How long a JSON document may be: a run with a git patch of 10 MiB, in base64, fits.
pub(super) const LONGEST_DOCUMENT: usize = 16 << 20;

/// How much of a refused body is still read, in bytes, and for how long.
const READ_ON: (usize, Duration) = (64 << 20, Duration::from_secs(10));

/// A JSON document.
pub(super) struct Document<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Document<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        expect(&request, "application/json")?;
        let bytes =
            body::to_bytes(request.into_body(), LONGEST_DOCUMENT).await.map_err(|error| {
                match has_stalled(&error) {
                    true => ApiError::Stalled,
                    false => ApiError::TooLarge { limit: LONGEST_DOCUMENT },
                }
            })?;
        let document = serde_json::from_slice(&bytes).map_err(|error| {
            ApiError::invalid(format!("the body is not what is expected: {error}"))
        })?;
        Ok(Self(document))
    }
}

/// A stream of bytes, as long as it likes.
pub(super) struct Octets(pub(super) Body);

impl<S: Sync> FromRequest<S> for Octets {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        expect(&request, "application/octet-stream")?;
        Ok(Self(request.into_body()))
    }
}

/// Sees to it that what `request` still sends is read when its handler no longer wants it: a
/// socket that is closed with something unread in it resets its peer, who then may never read
/// the answer that says why.
pub(super) async fn read_on(request: Request) -> Request {
    request.map(|body| Body::new(ReadOn(body)))
}

/// A body that is read on when it is dropped before its end.
struct ReadOn(Body);

impl HttpBody for ReadOn {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Drop for ReadOn {
    fn drop(&mut self) {
        let body = mem::take(&mut self.0);
        if body.is_end_stream() {
            return;
        }
        let (bytes, time) = READ_ON;
        let rest = async move {
            let mut left = bytes;
            let mut rest = body.into_data_stream();
            while let Some(Ok(chunk)) = rest.next().await {
                match left.checked_sub(chunk.len()) {
                    Some(fewer) => left = fewer,
                    None => break,
                }
            }
        };
        let within = async move { tokio::time::timeout(time, rest).await.ok() };
        task::spawn(debug_span!("read on"), within).detach();
    }
}

/// Returns `body`, which is an error when none of it comes for as long as `patience`.
pub(super) fn within(body: Body, patience: Duration) -> Body {
    Body::new(Within { body, patience, waiting: None })
}

/// A body of which something has to come every now and then.
struct Within {
    body: Body,
    patience: Duration,
    /// Since something is waited for.
    waiting: Option<Pin<Box<Sleep>>>,
}

/// None of a body came for too long.
#[derive(Debug, thiserror::Error)]
#[error("the rest of the body did not come")]
struct Stalled;

fn has_stalled(error: &axum::Error) -> bool {
    let first: &(dyn Error + 'static) = error;
    let mut causes = std::iter::successors(Some(first), |error| (*error).source());
    causes.any(|cause| cause.is::<Stalled>())
}

impl HttpBody for Within {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            self.waiting = None;
            return polled;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Some(Err(axum::Error::new(Stalled))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn expect(request: &Request, expected: &'static str) -> Result<(), ApiError> {
    let said = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = said.and_then(|said| said.split(';').next()).map(str::trim);
    if kind.is_some_and(|kind| kind.eq_ignore_ascii_case(expected)) {
        Ok(())
    } else {
        Err(ApiError::MediaType { expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_of_which_nothing_more_comes_is_given_up() {
        let patience = Duration::from_millis(100);
        let begun = futures_util::stream::iter([Ok::<_, std::io::Error>("{")]);
        let stuck = Body::from_stream(begun.chain(futures_util::stream::pending()));

        let read = body::to_bytes(within(stuck, patience), 100).await;
        let whole = body::to_bytes(within(Body::from("{}"), patience), 100).await;
        let long = body::to_bytes(within(Body::from("{}"), patience), 1).await;

        assert!(has_stalled(&read.unwrap_err()));
        assert_eq!(whole.unwrap(), "{}");
        assert!(!has_stalled(&long.unwrap_err()));
    }
}
