//! One connection, by whichever door it came: requests in, answers out.

use std::time::Duration;

use axum::Router;
use axum::middleware::map_request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::super::body::read_on;

/// What a peer may take of us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long the head of a request may take, from the answer before it on.
    pub(super) head: Duration,
    /// How many bytes are kept of what is not yet a request, and of an answer that its peer does
    /// not take.
    pub(super) kept: usize,
}

/// Answers the requests that come on `stream` until its peer leaves, or `graceful` says that the
/// answer which is being given is the last.
pub(super) async fn serve<S>(stream: S, router: Router, limits: Limits, graceful: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = router.layer(map_request(read_on));
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(limits.kept);
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    if let Err(error) = graceful.watch(connection).await {
        debug!(%error, "A connection broke.");
    }
}
