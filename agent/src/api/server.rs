//! The socket: who may come in, and how connections end.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Method, Uri};
use axum::middleware::map_request;
use axum::response::IntoResponse;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use snapshots::path_error::{IoContext, PathError};
use tokio::net::{UnixListener, UnixStream};
use tracing::{debug, info_span, warn};

use super::asked::PeerUid;
use super::body::read_on;
use super::error::ApiError;
use super::openapi;
use crate::agent::Agent;
use crate::peer::is_owner;
use crate::task;
use crate::workspace::socket_address::SocketAddress;

/// How long a request's head may take to arrive.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// How long answers that are being given may take once the agent is to stop.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// The socket that the agent answers on.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
    /// Whether whoever could connect may come in: the mode and the group of a socket that systemd
    /// made are the administrator's word on who that is. On our own, only its owner and root.
    open: bool,
    /// The socket's file, where it goes with the agent.
    own: Option<PathBuf>,
}

/// Takes the socket that systemd passed, or listens on the agent's own. What an earlier agent left there is removed: the lock says
/// that there is none now.
pub(crate) fn open(agent: &Agent, passed: Option<StdListener>) -> Result<Door, PathError> {
    let socket = agent.workspace.socket();
    if let Some(passed) = passed {
        let usable = passed.set_nonblocking(true).and_then(|()| UnixListener::from_std(passed));
        let listener = usable.context("use the socket that systemd passed for", socket)?;
        return Ok(Door { listener, open: true, own: None });
    }
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.context("remove", socket)?,
    }
    let address = SocketAddress::of(socket)?;
    let listener = UnixListener::bind(address.path()).context("listen on", socket)?;
    let owner_only = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(socket, owner_only).context("protect", socket)?;
    Ok(Door { listener, open: false, own: Some(socket.to_owned()) })
}

/// Answers at `door` until the agent stops.
pub(crate) async fn serve(agent: Arc<Agent>, door: Door) {
    let Door { listener, open, own } = door;
    let graceful = GracefulShutdown::new();
    let router = router(&agent);
    let owner = rustix::process::geteuid().as_raw();
    let asked = agent.stop.clone();
    let mut stopping = std::pin::pin!(asked.asked());
    loop {
        let stream = tokio::select! {
            () = &mut stopping => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, as a rule: those who are in will leave.
                    warn!(%error, "Could not accept a connection.");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        connect(&graceful, &router, (!open).then_some(owner), stream);
    }
    drop(listener);
    if tokio::time::timeout(LAST_ANSWERS, graceful.shutdown()).await.is_err() {
        debug!("Some answers were cut off.");
    }
    if let Some(Err(error)) = own.map(std::fs::remove_file) {
        warn!(%error, "Could not remove the socket.");
    }
}

fn router(agent: &Arc<Agent>) -> Router {
    let (router, _) = openapi::router().split_for_parts();
    router.fallback(no_route).method_not_allowed_fallback(no_method).with_state(Arc::clone(agent))
}

/// Answers whoever is at the other end of `stream`; with `only`, that user and root alone.
fn connect(graceful: &GracefulShutdown, router: &Router, only: Option<u32>, stream: UnixStream) {
    let uid = match stream.peer_cred() {
        Ok(credentials) => credentials.uid(),
        Err(error) => return warn!(%error, "Could not learn who connected."),
    };
    let router = match only {
        Some(owner) if !is_owner(uid, owner) => {
            warn!(uid, "Turned away someone else.");
            let refused = move || async move { ApiError::Foreign { uid, owner } };
            Router::new().fallback(refused)
        }
        _ => router.clone().layer(Extension(PeerUid(uid))),
    };
    let router = router.layer(map_request(read_on));
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let answering = graceful.watch(connection);
    // The connection owns itself: it ends with its peer, or when `graceful` says so.
    task::spawn(info_span!("connection", uid), async move {
        if let Err(error) = answering.await {
            debug!(%error, "A connection broke.");
        }
    })
    .detach();
}

async fn no_route(uri: Uri) -> ApiError {
    ApiError::NoRoute { path: uri.path().to_owned() }
}

async fn no_method(method: Method, request: Request) -> impl IntoResponse {
    ApiError::Method { path: request.uri().path().to_owned(), method: method.to_string() }
}
