//! The agent itself.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use tracing::info;

use super::super::error::ApiError;
use super::super::server::Peer;
use super::super::wire::agent::AgentStatus;
use super::super::wire::problem::Problem;
use crate::agent::Agent;
use crate::task;

/// Says who answers, and how busy it is.
#[utoipa::path(get, path = "/v1/status", operation_id = "status", tag = "agent",
    responses((status = 200, description = "The agent is well.", body = AgentStatus)))]
pub(in super::super) async fn status(
    State(agent): State<Arc<Agent>>,
) -> Result<Json<AgentStatus>, ApiError> {
    agent.store.answers().await?;
    Ok(Json(document(&agent)?))
}

fn document(agent: &Agent) -> Result<AgentStatus, ApiError> {
    let store = agent.objects.directory().to_owned();
    let found = store.metadata().map_err(ApiError::internal("examine the object store"))?;
    Ok(AgentStatus {
        schema_version: 1,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uid: rustix::process::geteuid().as_raw(),
        home: agent.workspace.home().to_owned(),
        store_id: format!("{}:{}", found.dev(), found.ino()),
        store,
        started_time_utc: agent.started,
        runs: agent.scheduler.counts(),
        concurrency: agent.capacity_here.places,
        draining: agent.drain.now(),
    })
}

/// Stops the agent. Runs that are on go on; the next agent finds them.
#[utoipa::path(post, path = "/v1/agent/stop", operation_id = "stop", tag = "agent",
    responses(
        (status = 202, description = "The agent stops."),
        (status = 403, description = "Only the agent's own user and root may.", body = Problem),
    ))]
pub(in super::super) async fn stop(
    State(agent): State<Arc<Agent>>,
    Extension(peer): Extension<Peer>,
) -> Result<StatusCode, ApiError> {
    peer.must_rule("stop")?;
    info!(by = peer.uid, "Asked to stop.");
    agent.stop.ask();
    Ok(StatusCode::ACCEPTED)
}

/// Starts none of the runs that wait, from now on and after a restart, until that is undone. Runs
/// that are on go on, and new ones are accepted into the queue.
#[utoipa::path(post, path = "/v1/agent/drain", operation_id = "drain", tag = "agent",
    responses(
        (status = 200, description = "None is started any more.", body = AgentStatus),
        (status = 403, description = "Only the agent's own user and root may.", body = Problem),
    ))]
pub(in super::super) async fn drain(
    State(agent): State<Arc<Agent>>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<AgentStatus>, ApiError> {
    peer.must_rule("drain")?;
    let draining = Arc::clone(&agent);
    let begun = task::blocking(move || draining.drain.begin(peer.uid)).await;
    begun.map_err(ApiError::internal("begin to drain"))?;
    agent.scheduler.look().await;
    info!(by = peer.uid, "Draining: no run is started.");
    Ok(Json(document(&agent)?))
}

/// Starts runs again.
#[utoipa::path(delete, path = "/v1/agent/drain", operation_id = "undoDrain", tag = "agent",
    responses(
        (status = 200, description = "Runs are started again.", body = AgentStatus),
        (status = 403, description = "Only the agent's own user and root may.", body = Problem),
    ))]
pub(in super::super) async fn undo_drain(
    State(agent): State<Arc<Agent>>,
    Extension(peer): Extension<Peer>,
) -> Result<Json<AgentStatus>, ApiError> {
    peer.must_rule("drain")?;
    let draining = Arc::clone(&agent);
    let ended = task::blocking(move || draining.drain.end()).await;
    ended.map_err(ApiError::internal("end the drain"))?;
    agent.scheduler.look().await;
    info!(by = peer.uid, "Runs are started again.");
    Ok(Json(document(&agent)?))
}

/// Returns this document.
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", tag = "agent",
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = Object)))]
pub(in super::super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(super::super::openapi::document())
}
