//! The agent itself.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tracing::info;

use super::super::error::ApiError;
use super::super::wire::agent::AgentStatus;
use crate::agent::Agent;

/// Says who answers, and how busy it is.
#[utoipa::path(get, path = "/v1/status", operation_id = "status", tag = "agent",
    responses((status = 200, description = "The agent is well.", body = AgentStatus)))]
pub(in super::super) async fn status(
    State(agent): State<Arc<Agent>>,
) -> Result<Json<AgentStatus>, ApiError> {
    agent.store.answers().await?;
    let store = agent.objects.directory().to_owned();
    let found = store.metadata().map_err(ApiError::internal("examine the object store"))?;
    Ok(Json(AgentStatus {
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
    }))
}

/// Stops the agent. Runs that are on go on; the next agent finds them.
#[utoipa::path(post, path = "/v1/agent/stop", operation_id = "stop", tag = "agent",
    responses((status = 202, description = "The agent stops.")))]
pub(in super::super) async fn stop(State(agent): State<Arc<Agent>>) -> StatusCode {
    info!("Asked to stop.");
    agent.stop.ask();
    StatusCode::ACCEPTED
}

/// Returns this document.
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", tag = "agent",
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = Object)))]
pub(in super::super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(super::super::openapi::document())
}
