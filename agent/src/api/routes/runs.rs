//! Runs: handing in, showing, ending, forgetting.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use runner::cancel_request::{CancelRequest as Cancel, CancelledBy};
use serde::Deserialize;
use tracing::info;
use utoipa::IntoParams;

use super::super::asked::NamedRun;
use super::super::body::Document;
use super::super::error::ApiError;
use super::super::wire::problem::Problem;
use super::super::wire::run::{CancelRequest, Outputs, Run, RunSummary};
use super::super::wire::submission::{SubmitRequest, Submitted};
use super::super::wire::waiting::ChangeWaiting;
use crate::agent::Agent;
use crate::peer::{Peer, Scope};
use crate::run::status::RunStatus;
use crate::run::submission;
use crate::store::ListFilter;
use crate::task;
use crate::user_database;

/// How long a run that is over is not shown for the sake of its list of packages.
const LISTING: Duration = Duration::from_secs(3);

/// The longest idempotency key.
const LONGEST_KEY: usize = 255;

/// Which runs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(rename_all = "camelCase", parameter_in = Query)]
pub(in super::super) struct ListQuery {
    /// At most so many. Default: all.
    limit: Option<u32>,
    /// Only those of this experiment.
    experiment: Option<String>,
    /// Only those that stand there.
    status: Option<String>,
    /// Only those with this tag: `key` or `key=value`.
    tag: Option<String>,
    /// Those of all users too, for who rules the agent. Default: one's own.
    #[serde(default)]
    all_users: bool,
    /// Only that which one handed in oneself under this idempotency key.
    idempotency_key: Option<String>,
}

/// Lists one's own runs, or everybody's, the latest first.
#[utoipa::path(get, path = "/v1/runs", operation_id = "listRuns", tag = "runs", params(ListQuery),
    responses(
        (status = 200, description = "The runs.", body = Vec<RunSummary>),
        (status = 400, description = "The query cannot be understood.", body = Problem),
        (status = 403, description = "One does not see everybody's.", body = Problem),
    ))]
pub(in super::super) async fn list(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Vec<RunSummary>>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::invalid(error.body_text()))?;
    let status = query.status.map(|name| named(&name)).transpose()?;
    let tag = query.tag.map(|tag| match tag.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (tag, None),
    });
    let scope = match query.all_users {
        true => {
            peer.must_rule("list everybody's runs on")?;
            Scope::All
        }
        false => Scope::Of(peer.uid),
    };
    let key = query.idempotency_key.map(|key| (peer.uid, key));
    let ListQuery { limit, experiment, .. } = query;
    let filter = ListFilter { scope, limit, experiment, status, tag, key };
    let mut runs = agent.store.list(filter).await?;
    if runs.iter().any(|run| run.status == RunStatus::Queued) {
        let mut waits = agent.waits();
        for run in &mut runs {
            if let Some(waits) = waits.remove(run.run_id.as_str()) {
                run.position = waits.position;
                run.waits_for = waits.waits_for;
            }
        }
    }
    for run in &mut runs {
        agent.tell_contact(run);
    }
    agent.tell_users(&mut runs).await;
    Ok(Json(runs))
}

fn named(name: &str) -> Result<RunStatus, ApiError> {
    let known = RunStatus::ALL.into_iter().find(|status| status.name().eq_ignore_ascii_case(name));
    known.ok_or_else(|| {
        let names = RunStatus::ALL.map(RunStatus::name).join(", ");
        ApiError::invalid(format!("{name:?} is no status; they are {names}"))
    })
}

/// Hands in a run. It is on the disk when the answer comes.
#[utoipa::path(post, path = "/v1/runs", operation_id = "submitRun", tag = "runs",
    params(("Idempotency-Key" = Option<String>, Header,
        description = "Handing in again under the same key makes no second run, and is answered with the first also while nothing more is taken.")),
    request_body = SubmitRequest,
    responses(
        (status = 201, description = "The run is accepted.", body = Submitted),
        (status = 400, description = "The request cannot be understood.", body = Problem),
        (status = 404, description = "There is no such target.", body = Problem),
        (status = 409, description = "The key stands for another submission, or the snapshot is not in the agent's store.", body = Problem),
        (status = 413, description = "The body is too long.", body = Problem),
        (status = 415, description = "The body is not said to be JSON.", body = Problem),
        (status = 422, description = "The container may not be what was asked for.", body = Problem),
        (status = 429, description = "The user has as many runs that are not over as they may.", body = Problem),
        (status = 507, description = "The disk is full, or the user has as much on it as they may. Nothing was accepted.", body = Problem),
    ))]
pub(in super::super) async fn submit(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
    headers: HeaderMap,
    Document(request): Document<SubmitRequest>,
) -> Result<(StatusCode, Json<Submitted>), ApiError> {
    let key = match headers.get("idempotency-key").map(|key| key.to_str()) {
        None => None,
        Some(Ok(key)) if (1..=LONGEST_KEY).contains(&key.len()) => Some(key.to_owned()),
        Some(_) => {
            let message = format!("an Idempotency-Key is 1 to {LONGEST_KEY} ASCII characters");
            return Err(ApiError::Invalid { message });
        }
    };
    let submitted = submission::submit(&agent, peer, key, request).await?;
    Ok((StatusCode::CREATED, Json(submitted)))
}

/// Shows a run. `ref` is an id, the beginning of one, a display name, or `@` for the latest.
#[utoipa::path(get, path = "/v1/runs/{ref}", operation_id = "showRun", tag = "runs",
    params(("ref" = String, Path, description = "Which run.")),
    responses(
        (status = 200, description = "The run.", body = Run),
        (status = 404, description = "There is no such run.", body = Problem),
        (status = 409, description = "Several runs could be meant.", body = Problem),
    ))]
pub(in super::super) async fn show(
    State(agent): State<Arc<Agent>>,
    NamedRun(run): NamedRun,
) -> Result<Json<Run>, ApiError> {
    let document = agent.document(&run).await?;
    let listed = document.prepared_environment.as_ref().is_some_and(|it| !it.packages.is_empty());
    if listed || !document.summary.status.is_ended() {
        return Ok(Json(document));
    }
    // It ended a moment ago, and what is installed is still being listed.
    if tokio::time::timeout(LISTING, agent.packages.settled(&run)).await.is_err() {
        return Ok(Json(document));
    }
    Ok(Json(agent.document(&run).await?))
}

/// Lists what a run has left so far in `outputs/` and `logs/`, and brings it to this machine. Of a
/// run that is over: what it left.
#[utoipa::path(post, path = "/v1/runs/{ref}/outputs", operation_id = "collectOutputs", tag = "runs",
    params(("ref" = String, Path, description = "Which run.")),
    responses(
        (status = 200, description = "The files, now among those of the run.", body = Outputs),
        (status = 404, description = "There is no such run.", body = Problem),
        (status = 409, description = "Several runs could be meant.", body = Problem),
        (status = 502, description = "Its target cannot be reached.", body = Problem),
    ))]
pub(in super::super) async fn outputs(
    State(agent): State<Arc<Agent>>,
    NamedRun(run): NamedRun,
) -> Result<Json<Outputs>, ApiError> {
    Ok(Json(agent.outputs_so_far(&run).await?))
}

/// Asks for a run to end. Answers with the run as it is then; it ends in its own time.
#[utoipa::path(post, path = "/v1/runs/{ref}/cancel", operation_id = "cancelRun", tag = "runs",
    params(("ref" = String, Path, description = "Which run.")),
    request_body = CancelRequest,
    responses(
        (status = 200, description = "The run is to end.", body = Run),
        (status = 404, description = "There is no such run.", body = Problem),
        (status = 409, description = "It has ended, or several could be meant.", body = Problem),
    ))]
pub(in super::super) async fn cancel(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
    NamedRun(run): NamedRun,
    Document(request): Document<CancelRequest>,
) -> Result<Json<Run>, ApiError> {
    let user = task::blocking(move || user_database::name_of(peer.uid)).await;
    let by = CancelledBy { uid: peer.uid, user };
    info!(%run, uid = peer.uid, now = request.now, "Asked to end a run.");
    agent.scheduler.cancel(run.clone(), Cancel::new(by, Timestamp::now(), request.now)).await?;
    Ok(Json(agent.document(&run).await?))
}

/// Changes how a run in the queue waits: holds or releases it, gives it another priority, or moves
/// it to another target. Answers with the run as it waits then.
#[utoipa::path(post, path = "/v1/runs/{ref}/waiting", operation_id = "changeWaiting", tag = "runs",
    params(("ref" = String, Path, description = "Which run.")),
    request_body = ChangeWaiting,
    responses(
        (status = 200, description = "It waits like that.", body = Run),
        (status = 404, description = "There is no such run, or no such target.", body = Problem),
        (status = 409, description = "It is not in the queue any more, or several could be meant.", body = Problem),
    ))]
pub(in super::super) async fn change_waiting(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
    NamedRun(run): NamedRun,
    Document(change): Document<ChangeWaiting>,
) -> Result<Json<Run>, ApiError> {
    {
        // A target does not go meanwhile.
        let _all_stays = agent.collecting.read().await;
        if let Some(target) = &change.target {
            agent.targets.usable(target, peer)?;
        }
        agent.scheduler.change(run.clone(), change).await?;
    }
    Ok(Json(agent.document(&run).await?))
}

/// Forgets an ended run: its records and its directory.
#[utoipa::path(delete, path = "/v1/runs/{ref}", operation_id = "removeRun", tag = "runs",
    params(("ref" = String, Path, description = "Which run.")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "There is no such run.", body = Problem),
        (status = 409, description = "It has not ended, or several could be meant.", body = Problem),
    ))]
pub(in super::super) async fn remove(
    State(agent): State<Arc<Agent>>,
    NamedRun(run): NamedRun,
) -> Result<StatusCode, ApiError> {
    agent.forget(&run).await?;
    Ok(StatusCode::NO_CONTENT)
}
