//! The agent itself.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tracing::info;

use super::super::error::ApiError;
use super::super::wire::agent::{AgentStatus, UserUsage};
use super::super::wire::problem::Problem;
use crate::agent::Agent;
use crate::listen::Entrance;
use crate::peer::Peer;
use crate::quota::QuotaPolicy;
use crate::run::sandbox_offer::SandboxOffer;
use crate::task;
use crate::user_database;

/// Says who answers, and how busy it is.
#[utoipa::path(get, path = "/v1/status", operation_id = "status", tag = "agent",
    responses((status = 200, description = "The agent is well.", body = AgentStatus)))]
pub(in super::super) async fn status(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
) -> Result<Json<AgentStatus>, ApiError> {
    agent.store.answers().await?;
    Ok(Json(document(&agent, peer).await?))
}

async fn document(agent: &Agent, peer: Peer) -> Result<AgentStatus, ApiError> {
    let store = agent.objects.get(agent.objects.of(peer.uid)).await;
    let store = store.map_err(ApiError::internal("open the object store"))?;
    let store = store.directory().to_owned();
    let found = store.metadata().map_err(ApiError::internal("examine the object store"))?;
    let machine = agent.machine_sandbox.clone();
    let facts = task::blocking(move || machine.facts()).await;
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
        listening: agent.listening.get().map(Entrance::told),
        rules: peer.rules,
        sandbox: Some(SandboxOffer::new(&agent.sandbox, &facts, peer)),
    })
}

/// Says what the user who asks has, and may have.
#[utoipa::path(get, path = "/v1/usage", operation_id = "usage", tag = "agent",
    responses((status = 200, description = "What they have.", body = UserUsage)))]
pub(in super::super) async fn usage(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
) -> Result<Json<UserUsage>, ApiError> {
    let QuotaPolicy { max_runs, max_bytes } = agent.users.quota.of(peer);
    Ok(Json(UserUsage {
        schema_version: 1,
        uid: peer.uid,
        user: task::blocking(move || user_database::name_of(peer.uid)).await,
        rules: peer.rules,
        runs: agent.store.unfinished_of(peer.uid).await?,
        max_runs,
        bytes: agent.bytes_of(peer.uid).await?,
        max_bytes,
    }))
}

/// Stops the agent. Runs that are on go on; the next agent finds them.
#[utoipa::path(post, path = "/v1/agent/stop", operation_id = "stop", tag = "agent",
    responses(
        (status = 202, description = "The agent stops."),
        (status = 403, description = "Only who rules the agent may.", body = Problem),
    ))]
pub(in super::super) async fn stop(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
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
        (status = 403, description = "Only who rules the agent may.", body = Problem),
    ))]
pub(in super::super) async fn drain(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
) -> Result<Json<AgentStatus>, ApiError> {
    peer.must_rule("drain")?;
    let draining = Arc::clone(&agent);
    let begun = task::blocking(move || draining.drain.begin(peer.uid)).await;
    begun.map_err(ApiError::internal("begin to drain"))?;
    agent.scheduler.look().await;
    info!(by = peer.uid, "Draining: no run is started.");
    Ok(Json(document(&agent, peer).await?))
}

/// Starts runs again.
#[utoipa::path(delete, path = "/v1/agent/drain", operation_id = "undoDrain", tag = "agent",
    responses(
        (status = 200, description = "Runs are started again.", body = AgentStatus),
        (status = 403, description = "Only who rules the agent may.", body = Problem),
    ))]
pub(in super::super) async fn undo_drain(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
) -> Result<Json<AgentStatus>, ApiError> {
    peer.must_rule("drain")?;
    let draining = Arc::clone(&agent);
    let ended = task::blocking(move || draining.drain.end()).await;
    ended.map_err(ApiError::internal("end the drain"))?;
    agent.scheduler.look().await;
    info!(by = peer.uid, "Runs are started again.");
    Ok(Json(document(&agent, peer).await?))
}

/// Returns this document.
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", tag = "agent",
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = Object)))]
pub(in super::super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(super::super::openapi::document())
}
