//! What monitoring asks.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::super::error::ApiError;
use super::super::wire::problem::Problem;
use crate::agent::Agent;
use crate::statistics::StatisticsReport;
use crate::statistics::prometheus::{self, Facts};

/// Says that the process answers, and nothing more: one that does not wants a restart.
#[utoipa::path(get, path = "/healthz", operation_id = "alive", tag = "health",
    responses((status = 200, description = "It does.", body = String)))]
pub(in super::super) async fn alive() -> &'static str {
    "ok\n"
}

/// Says whether the agent takes on work: its records answer and it does not drain. What an earlier
/// agent left is taken up before anything is answered at all.
#[utoipa::path(get, path = "/readyz", operation_id = "ready", tag = "health",
    responses(
        (status = 200, description = "It does.", body = String),
        (status = 500, description = "Its records do not answer.", body = Problem),
        (status = 503, description = "It drains.", body = Problem),
    ))]
pub(in super::super) async fn ready(
    State(agent): State<Arc<Agent>>,
) -> Result<&'static str, ApiError> {
    agent.store.round_trip().await?;
    if agent.drain.now().is_some() {
        let hint = "`trainyard agent drain --undo` starts runs again";
        return Err(ApiError::NotReady { reason: "the agent is draining", hint });
    }
    Ok("ready\n")
}

/// Returns metrics as Prometheus reads them. Counters begin at zero when the agent starts.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "health",
    responses((status = 200, description = "The metrics.", body = String,
        content_type = "text/plain")))]
pub(in super::super) async fn metrics(
    State(agent): State<Arc<Agent>>,
) -> Result<Response, ApiError> {
    let facts = Facts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: agent.started.as_second(),
        draining: agent.drain.now().is_some(),
        places: agent.capacity_here.places,
    };
    let page = prometheus::text(&facts, &agent.statistics().await?);
    Ok(([(CONTENT_TYPE, prometheus::CONTENT_TYPE)], page).into_response())
}

/// Returns the same as a document.
#[utoipa::path(get, path = "/v1/statistics", operation_id = "statistics", tag = "health",
    responses((status = 200, description = "What was counted.", body = StatisticsReport)))]
pub(in super::super) async fn statistics(
    State(agent): State<Arc<Agent>>,
) -> Result<Json<StatisticsReport>, ApiError> {
    Ok(Json(agent.statistics().await?))
}
