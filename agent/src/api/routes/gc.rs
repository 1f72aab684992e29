//! Freeing what nothing refers to.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use tracing::info;

use super::super::body::Document;
use super::super::error::ApiError;
use super::super::wire::agent::{GcReport, GcRequest};
use super::super::wire::problem::Problem;
use crate::agent::Agent;
use crate::task;

/// Frees what nothing refers to: objects, left-overs of environments and, if asked, old runs.
#[utoipa::path(post, path = "/v1/gc", operation_id = "collectGarbage", tag = "agent",
    request_body = GcRequest,
    responses(
        (status = 200, description = "What was freed, or would be.", body = GcReport),
        (status = 415, description = "The body is not said to be JSON.", body = Problem),
    ))]
pub(in super::super) async fn gc(
    State(agent): State<Arc<Agent>>,
    Document(request): Document<GcRequest>,
) -> Result<Json<GcReport>, ApiError> {
    let mut report = GcReport::default();
    let old = match request.older_than_seconds {
        Some(seconds) => {
            let age = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            let before = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN);
            agent.store.ended_before(before).await?
        }
        None => Vec::new(),
    };
    report.runs_removed = old.len() as u64;
    if !request.dry_run {
        for run in &old {
            agent.forget(run).await?;
        }
        let environments = agent.environments.clone();
        report.environment_leftovers = task::blocking(move || environments.sweep()).await?;
    }
    info!(?report, dry_run = request.dry_run, "Freed what nothing refers to.");
    Ok(Json(report))
}
