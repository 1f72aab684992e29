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

/// The most that is kept of what a peer sends before it is a request, and of an answer that its
/// peer does not take, in bytes.
const MOST_KEPT: usize = 64 << 10;

/// Answers the requests that come on `stream` until its peer leaves, or `graceful` says that the
/// answer which is being given is the last. The head of each is to be there within `head` of the
/// answer before it.
pub(super) async fn serve<S>(stream: S, router: Router, head: Duration, graceful: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = router.layer(map_request(read_on));
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(MOST_KEPT);
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    if let Err(error) = graceful.watch(connection).await {
        debug!(%error, "A connection broke.");
    }
}
