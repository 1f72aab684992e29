//! Environments that were built here.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use images::cache::{EnvironmentDetails, EnvironmentEntry};

use super::super::error::ApiError;
use super::super::wire::problem::Problem;
use crate::agent::Agent;
use crate::peer::Peer;
use crate::task;

/// Lists the environments that were built, the most recently used first.
#[utoipa::path(get, path = "/v1/environments", operation_id = "listEnvironments",
    tag = "environments",
    responses((status = 200, description = "The environments.", body = Vec<Object>)))]
pub(in super::super) async fn list(
    State(agent): State<Arc<Agent>>,
) -> Result<Json<Vec<EnvironmentEntry>>, ApiError> {
    let cache = agent.environments.clone();
    Ok(Json(task::blocking(move || cache.list()).await?))
}

/// Shows an environment. `key` is a key or the beginning of one.
#[utoipa::path(get, path = "/v1/environments/{key}", operation_id = "showEnvironment",
    tag = "environments",
    params(("key" = String, Path, description = "Which environment.")),
    responses(
        (status = 200, description = "The environment.", body = Object),
        (status = 404, description = "There is none with such a key.", body = Problem),
    ))]
pub(in super::super) async fn show(
    State(agent): State<Arc<Agent>>,
    Path(key): Path<String>,
) -> Result<Json<EnvironmentDetails>, ApiError> {
    let cache = agent.environments.clone();
    Ok(Json(task::blocking(move || cache.show(&key)).await?))
}

/// Removes an environment that no run uses. Environments are everybody's: who rules the agent may.
#[utoipa::path(delete, path = "/v1/environments/{key}", operation_id = "removeEnvironment",
    tag = "environments",
    params(("key" = String, Path, description = "Which environment.")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 403, description = "Only who rules the agent may.", body = Problem),
        (status = 404, description = "There is none with such a key.", body = Problem),
        (status = 409, description = "A run uses it, or several could be meant.", body = Problem),
    ))]
pub(in super::super) async fn remove(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
    Path(key): Path<String>,
) -> Result<StatusCode, ApiError> {
    peer.must_rule("remove environments of")?;
    let cache = agent.environments.clone();
    task::blocking(move || cache.remove(&key)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns the log of an environment's build.
#[utoipa::path(get, path = "/v1/environments/{key}/log", operation_id = "environmentLog",
    tag = "environments",
    params(("key" = String, Path, description = "Which environment.")),
    responses(
        (status = 200, description = "The log.", body = Vec<u8>,
            content_type = "application/octet-stream"),
        (status = 404, description = "There is none with such a key.", body = Problem),
    ))]
pub(in super::super) async fn log(
    State(agent): State<Arc<Agent>>,
    Path(key): Path<String>,
) -> Result<Response, ApiError> {
    let cache = agent.environments.clone();
    let details = task::blocking({
        let cache = cache.clone();
        move || cache.show(&key)
    })
    .await?;
    let log = tokio::fs::read(&details.entry.log).await;
    let log = log.map_err(ApiError::internal("read the log of the build"))?;
    Ok(([(CONTENT_TYPE, "application/octet-stream")], log).into_response())
}
