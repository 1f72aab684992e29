//! The doors to the API: the socket, and TCP where the agent is told to listen.
//!
//! Each door learns in its own way who asks. Behind it there is one router, which does not know
//! by which of them a request came.

mod connection;
mod gate;
mod patient;
mod places;
mod socket;
mod tcp;

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use axum::http::{Method, Uri};
use axum::response::IntoResponse;
use hyper_util::server::graceful::GracefulShutdown;
use tracing::{debug, warn};

use super::error::ApiError;
use super::openapi;
use crate::agent::Agent;
use crate::listen::Listener;

/// How long answers that are being given may take once the agent is to stop.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// How long nobody is let in when the system has no room for another connection.
const NO_ROOM: Duration = Duration::from_millis(100);

/// Where the agent answers.
pub(crate) struct Doors {
    socket: socket::Door,
    tcp: Option<tcp::Door>,
}

/// Takes the socket that systemd passed, or listens on the agent's own; and takes what listens on
/// TCP, if something does.
pub(crate) fn open(
    agent: &Arc<Agent>,
    passed: Option<StdListener>,
    listener: Option<Listener>,
) -> anyhow::Result<Doors> {
    let socket = socket::Door::open(agent, passed)?;
    let tcp = listener.map(|listener| tcp::Door::open(agent, listener)).transpose();
    Ok(Doors { socket, tcp: tcp.context("cannot listen on TCP")? })
}

/// Answers at `doors` until the agent stops.
pub(crate) async fn serve(agent: Arc<Agent>, doors: Doors) {
    let graceful = GracefulShutdown::new();
    let router = router(&agent);
    let Doors { socket, tcp } = doors;
    let over_tcp = async {
        if let Some(door) = tcp {
            door.answer(&agent, &router, &graceful).await;
        }
    };
    tokio::join!(socket.answer(&agent, &router, &graceful), over_tcp);
    if tokio::time::timeout(LAST_ANSWERS, graceful.shutdown()).await.is_err() {
        debug!("Some answers were cut off.");
    }
    socket.close();
}

/// Waits for whoever comes next; `None` once the agent is to stop.
async fn next<T>(agent: &Agent, mut accept: impl AsyncFnMut() -> io::Result<T>) -> Option<T> {
    loop {
        let accepted = tokio::select! {
            () = agent.stop.asked() => return None,
            accepted = accept() => accepted,
        };
        match accepted {
            Ok(stream) => return Some(stream),
            Err(error) => {
                // Out of descriptors, as a rule: those who are in will leave.
                warn!(%error, "Could not accept a connection.");
                tokio::time::sleep(NO_ROOM).await;
            }
        }
    }
}

fn router(agent: &Arc<Agent>) -> Router {
    let (router, _) = openapi::router().split_for_parts();
    router.fallback(no_route).method_not_allowed_fallback(no_method).with_state(Arc::clone(agent))
}

async fn no_route(uri: Uri) -> ApiError {
    ApiError::NoRoute { path: uri.path().to_owned() }
}

async fn no_method(method: Method, request: Request) -> impl IntoResponse {
    ApiError::Method { path: request.uri().path().to_owned(), method: method.to_string() }
}
