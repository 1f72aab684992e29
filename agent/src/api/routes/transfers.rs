//! Bringing a snapshot's objects to the store of the user who sends them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::TryStreamExt;
use snapshots::archive::Limits;
use snapshots::store::local::LocalStore;
use snapshots::transfer::{Destination, Receiver, receive_pack};
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::super::body::{Document, Octets};
use super::super::error::ApiError;
use super::super::wire::problem::Problem;
use super::super::wire::transfer::{FinishRequest, Missing, MissingRequest, PackReceived};
use crate::agent::Agent;
use crate::peer::Peer;
use crate::task;

/// Says which objects the user's store in the agent lacks.
#[utoipa::path(post, path = "/v1/transfers/missing", operation_id = "missingObjects",
    tag = "transfers", request_body = MissingRequest,
    responses(
        (status = 200, description = "Those that are missing.", body = Missing),
        (status = 415, description = "The body is not said to be JSON.", body = Problem),
    ))]
pub(in super::super) async fn missing(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
    Document(request): Document<MissingRequest>,
) -> Result<Json<Missing>, ApiError> {
    let objects = store_of(&agent, peer).await?;
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
        (status = 507, description = "The disk is full, or nearly so, or the user has as much on it as they may.", body = Problem),
    ))]
pub(in super::super) async fn pack(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
    Octets(body): Octets,
) -> Result<Json<PackReceived>, ApiError> {
    agent.disk.has_room().map_err(ApiError::Short)?;
    let allowance = agent.allowance(peer).await?;
    let objects = store_of(&agent, peer).await?;
    let bytes = body.into_data_stream().map_err(std::io::Error::other);
    let mut pack = allowance.limit(SyncIoBridge::new(StreamReader::new(bytes)));
    let written = task::blocking(move || {
        let written = receive_pack(&objects, &mut pack, Limits::default());
        written.map_err(|error| match pack.over() {
            Some(over) => ApiError::OverQuota(over),
            None => error.into(),
        })
    })
    .await?;
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
    peer: Peer,
    Document(request): Document<FinishRequest>,
) -> Result<StatusCode, ApiError> {
    let mut receiver = Receiver::new(store_of(&agent, peer).await?, Limits::default());
    let bytes = request.record.total_bytes;
    task::blocking(move || receiver.finish(&request.record)).await?;
    agent.statistics.snapshot(bytes);
    Ok(StatusCode::NO_CONTENT)
}

/// Returns the store that what `peer` sends goes to, and that their questions are about.
async fn store_of(agent: &Agent, peer: Peer) -> Result<LocalStore, ApiError> {
    let store = agent.objects.get(agent.objects.of(peer.uid)).await;
    store.map_err(ApiError::internal("open the object store"))
}
