//! Bringing a snapshot's objects to the agent's store.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::TryStreamExt;
use snapshots::archive::Limits;
use snapshots::transfer::{Destination, Receiver, receive_pack};
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::super::body::{Document, Octets};
use super::super::error::ApiError;
use super::super::wire::problem::Problem;
use super::super::wire::transfer::{FinishRequest, Missing, MissingRequest, PackReceived};
use crate::agent::Agent;
use crate::task;

/// Says which objects the agent's store lacks.
#[utoipa::path(post, path = "/v1/transfers/missing", operation_id = "missingObjects",
    tag = "transfers", request_body = MissingRequest,
    responses(
        (status = 200, description = "Those that are missing.", body = Missing),
        (status = 415, description = "The body is not said to be JSON.", body = Problem),
    ))]
pub(in super::super) async fn missing(
    State(agent): State<Arc<Agent>>,
    Document(request): Document<MissingRequest>,
) -> Result<Json<Missing>, ApiError> {
    let objects = agent.objects.clone();
    let missing = task::blocking(move || objects.missing(&request.digests)).await;
    Ok(Json(Missing { missing: missing.map_err(ApiError::internal("look for objects"))? }))
}

/// Takes a pack of objects, each of which is checked. Of a pack that was cut short, what came is
/// kept; of one that is broken, nothing.
#[utoipa::path(post, path = "/v1/transfers/pack", operation_id = "receivePack",
    tag = "transfers",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "The objects are on the disk.", body = PackReceived),
        (status = 400, description = "The pack is broken.", body = Problem),
        (status = 415, description = "The body is not said to be octets.", body = Problem),
        (status = 507, description = "The disk is full.", body = Problem),
    ))]
pub(in super::super) async fn pack(
    State(agent): State<Arc<Agent>>,
    Octets(body): Octets,
) -> Result<Json<PackReceived>, ApiError> {
    let objects = agent.objects.clone();
    let bytes = body.into_data_stream().map_err(std::io::Error::other);
    let mut pack = SyncIoBridge::new(StreamReader::new(bytes));
    let written =
        task::blocking(move || receive_pack(&objects, &mut pack, Limits::default())).await?;
    agent.statistics.received(written.bytes);
    Ok(Json(PackReceived { objects: written.objects, bytes: written.bytes }))
}

/// Keeps a snapshot whose objects are all there.
#[utoipa::path(post, path = "/v1/transfers/finish", operation_id = "finishTransfer",
    tag = "transfers", request_body = FinishRequest,
    responses(
        (status = 204, description = "The snapshot is kept."),
        (status = 409, description = "Objects of it are missing.", body = Problem),
    ))]
pub(in super::super) async fn finish(
    State(agent): State<Arc<Agent>>,
    Document(request): Document<FinishRequest>,
) -> Result<StatusCode, ApiError> {
    let mut receiver = Receiver::new(agent.objects.clone(), Limits::default());
    let bytes = request.record.total_bytes;
    task::blocking(move || receiver.finish(&request.record)).await?;
    agent.statistics.snapshot(bytes);
    Ok(StatusCode::NO_CONTENT)
}
