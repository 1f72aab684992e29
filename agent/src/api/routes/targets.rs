//! Compute targets: attaching, showing, looking at, cleaning and letting go.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use runner::remote::message::Cleaning;
use serde::Deserialize;
use snapshots::transfer::Sent;
use tracing::info;
use utoipa::IntoParams;

use super::super::body::Document;
use super::super::error::ApiError;
use super::super::wire::problem::Problem;
use super::super::wire::run::OutOfContact;
use super::super::wire::target::{
    AttachRequest, CheckRequest, CheckedTarget, CleanReport, CleanRequest, CleanedMachine,
    Detached, Host, Jump, Remote, SendReport, SendRequest, Target,
};
use crate::agent::Agent;
use crate::peer::Peer;
use crate::targets::{Asked, Attached, Checked, Hop, Kept, RegistryError};
use crate::task;
use crate::upkeep::{self, NotCleaned};

/// The version of the document of a target.
const SCHEMA_VERSION: u32 = 1;

/// Lists the targets that one may use, this machine first.
#[utoipa::path(get, path = "/v1/targets", operation_id = "listTargets", tag = "targets",
    responses((status = 200, description = "The targets.", body = Vec<Target>)))]
pub(in super::super) async fn list(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
) -> Result<Json<Vec<Target>>, ApiError> {
    let names = agent.targets.names_for(peer);
    // One may go meanwhile.
    Ok(Json(names.iter().filter_map(|name| document(&agent, name, peer).ok()).collect()))
}

/// Shows a target. Connects to nothing.
#[utoipa::path(get, path = "/v1/targets/{name}", operation_id = "showTarget", tag = "targets",
    params(("name" = String, Path, description = "Which target.")),
    responses(
        (status = 200, description = "The target.", body = Target),
        (status = 404, description = "There is none of that name.", body = Problem),
    ))]
pub(in super::super) async fn show(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
    Path(name): Path<String>,
) -> Result<Json<Target>, ApiError> {
    Ok(Json(document(&agent, &name, peer)?))
}

/// Attaches a machine: connects, pins its host key, puts this program there and asks what the
/// machine is. Attaching again under the same name replaces the credentials.
#[utoipa::path(post, path = "/v1/targets", operation_id = "attachTarget", tag = "targets",
    request_body = AttachRequest,
    responses(
        (status = 201, description = "It is attached.", body = CheckedTarget),
        (status = 400, description = "The request cannot be understood.", body = Problem),
        (status = 403, description = "The name is that of a target which is everybody's.", body = Problem),
        (status = 409, description = "The machine is attached under another name, or the name stands for another.", body = Problem),
        (status = 415, description = "The body is not said to be JSON.", body = Problem),
        (status = 502, description = "The machine cannot be reached, lets nobody in, or will not do.", body = Problem),
    ))]
pub(in super::super) async fn attach(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
    Document(request): Document<AttachRequest>,
) -> Result<(StatusCode, Json<CheckedTarget>), ApiError> {
    let asked = asked(request);
    let name = asked.name.clone();
    let attaching = Arc::clone(&agent);
    let checked = task::blocking(move || attaching.targets.attach(&asked, peer)).await?;
    Ok((StatusCode::CREATED, Json(checked_document(&agent, &name, checked, peer)?)))
}

/// Asks an attached machine what it is and has, whatever was met with before.
#[utoipa::path(post, path = "/v1/targets/{name}/check", operation_id = "checkTarget",
    tag = "targets", params(("name" = String, Path, description = "Which target.")),
    request_body = CheckRequest,
    responses(
        (status = 200, description = "What it is and has.", body = CheckedTarget),
        (status = 400, description = "It is this machine.", body = Problem),
        (status = 403, description = "It is everybody's, so not this user's to check.", body = Problem),
        (status = 404, description = "There is none of that name.", body = Problem),
        (status = 409, description = "It shows another host key than the one to accept.", body = Problem),
        (status = 415, description = "The body is not said to be JSON.", body = Problem),
        (status = 502, description = "It cannot be reached, or lets nobody in.", body = Problem),
    ))]
pub(in super::super) async fn check(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
    Path(name): Path<String>,
    Document(request): Document<CheckRequest>,
) -> Result<Json<CheckedTarget>, ApiError> {
    let (asking, asked) = (Arc::clone(&agent), name.clone());
    let checked = task::blocking(move || {
        asking.targets.check(&asked, request.accept_host_key.as_deref(), peer)
    })
    .await?;
    Ok(Json(checked_document(&agent, &name, checked, peer)?))
}

/// Removes from an attached machine what nobody came back for, and what is over a limit.
#[utoipa::path(post, path = "/v1/targets/{name}/clean", operation_id = "cleanTarget",
    tag = "targets", params(("name" = String, Path, description = "Which target.")),
    request_body = CleanRequest,
    responses(
        (status = 200, description = "What went, or would.", body = CleanReport),
        (status = 400, description = "It is this machine.", body = Problem),
        (status = 403, description = "It is everybody's, so not this user's to clean.", body = Problem),
        (status = 404, description = "There is none of that name.", body = Problem),
        (status = 415, description = "The body is not said to be JSON.", body = Problem),
        (status = 502, description = "It cannot be reached, or lets nobody in.", body = Problem),
    ))]
pub(in super::super) async fn clean(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
    Path(name): Path<String>,
    Document(request): Document<CleanRequest>,
) -> Result<Json<CleanReport>, ApiError> {
    let CleanRequest { runs_older_seconds, max_bytes, dry_run } = request;
    let wanted = Cleaning { runs_older_seconds, max_bytes, dry_run, ..Cleaning::default() };
    let target = agent.targets.changeable(&name, peer, "clean")?;
    match upkeep::clean(&agent, target, wanted).await {
        Ok(cleaned) => Ok(Json(CleanReport { cleaned })),
        Err(NotCleaned::Target(error)) => Err(error.into()),
        Err(NotCleaned::Records(error)) => Err(error.into()),
    }
}

/// Sends a snapshot to an attached machine, ahead of the runs that need it.
#[utoipa::path(post, path = "/v1/targets/{name}/snapshots", operation_id = "sendSnapshot",
    tag = "targets", params(("name" = String, Path, description = "Which target.")),
    request_body = SendRequest,
    responses(
        (status = 200, description = "It is there, whole.", body = SendReport),
        (status = 400, description = "It is this machine.", body = Problem),
        (status = 403, description = "It is everybody's, so not this user's to send to.", body = Problem),
        (status = 404, description = "There is no such target.", body = Problem),
        (status = 409, description = "The agent's store does not have the snapshot.", body = Problem),
        (status = 415, description = "The body is not said to be JSON.", body = Problem),
        (status = 502, description = "It cannot be reached, or lets nobody in.", body = Problem),
    ))]
pub(in super::super) async fn send(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
    Path(name): Path<String>,
    Document(request): Document<SendRequest>,
) -> Result<Json<SendReport>, ApiError> {
    // The answer says how much of it was there, so whether others had sent the same.
    let target = agent.targets.changeable(&name, peer, "send to")?;
    let id = request.snapshot_id;
    let objects = agent.objects.get(agent.objects.of(peer.uid)).await;
    let objects = objects.map_err(ApiError::internal("open the object store"))?;
    let looked_in = objects.clone();
    let known = task::blocking(move || looked_in.record(&id)).await;
    if known.map_err(ApiError::internal("look for the snapshot"))?.is_none() {
        return Err(ApiError::NoSnapshot { snapshot: id });
    }
    let sent = task::blocking(move || target.machine().send(&objects, &id)).await;
    let Sent { objects, bytes, round_trips } = sent.map_err(RegistryError::of(&name))?;
    info!(target = name, objects, bytes, round_trips, "Sent a snapshot.");
    Ok(Json(SendReport { objects, bytes, round_trips }))
}

/// How to let a machine go.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct DetachQuery {
    /// Removes all of ours from it first.
    #[serde(default)]
    purge: bool,
}

/// Lets an attached machine go. Nothing of it is touched unless that is asked for.
#[utoipa::path(delete, path = "/v1/targets/{name}", operation_id = "detachTarget", tag = "targets",
    params(("name" = String, Path, description = "Which target."), DetachQuery),
    responses(
        (status = 200, description = "It is not attached any more.", body = Detached),
        (status = 400, description = "It is this machine.", body = Problem),
        (status = 403, description = "It is everybody's, so not this user's to let go.", body = Problem),
        (status = 404, description = "There is none of that name.", body = Problem),
        (status = 409, description = "Runs that are not over are on it.", body = Problem),
        (status = 502, description = "It cannot be reached to remove what is there.", body = Problem),
    ))]
pub(in super::super) async fn detach(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
    Path(name): Path<String>,
    query: Result<Query<DetachQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Detached>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::invalid(error.body_text()))?;
    agent.targets.changeable(&name, peer, "detach")?;
    // Whoever hands in a run meanwhile waits, and hears that the target is gone.
    let alone = agent.collecting.write().await;
    let unfinished = agent.store.unfinished().await?;
    let runs: Vec<_> = unfinished
        .iter()
        .filter(|row| row.request.target == name)
        .map(|row| match peer.scope().has(row.uid) {
            true => row.id.to_string(),
            false => "a run of another user".to_owned(),
        })
        .collect();
    if !runs.is_empty() {
        return Err(RegistryError::InUse { name, runs }.into());
    }
    let detaching = Arc::clone(&agent);
    let purged = task::blocking(move || detaching.targets.detach(&name, query.purge, peer)).await?;
    drop(alone);
    Ok(Json(Detached { purged }))
}

fn asked(request: AttachRequest) -> Asked {
    Asked {
        name: request.name,
        at: hop(request.host),
        jumps: request.jumps.into_iter().map(hop).collect(),
        credentials: request.credentials,
        of_systemd: request.credential_from_systemd,
        known_hosts: request.known_hosts,
        allow_unsupported: request.allow_unsupported,
    }
}

fn hop(host: Host) -> Hop {
    Hop { host: host.address, port: host.port, user: host.user }
}

fn checked_document(
    agent: &Agent,
    name: &str,
    checked: Checked,
    peer: Peer,
) -> Result<CheckedTarget, RegistryError> {
    let Checked { report, clock_ahead_seconds } = checked;
    Ok(CheckedTarget { target: document(agent, name, peer)?, report, clock_ahead_seconds })
}

fn document(agent: &Agent, name: &str, peer: Peer) -> Result<Target, RegistryError> {
    let target = agent.targets.usable(name, peer)?;
    let attached = agent.targets.attached(name);
    let counts = agent.scheduler.counts_of(name);
    Ok(Target {
        schema_version: SCHEMA_VERSION,
        name: name.to_owned(),
        r#type: if attached.is_some() { "remote" } else { "local" }.to_owned(),
        places: agent.capacity(name).places,
        queued: counts.queued,
        running: counts.running,
        draining_since_time_utc: agent.drain.now().map(|draining| draining.since_time_utc),
        out_of_contact: target.out_of_contact().map(|contact| OutOfContact::of(name, contact)),
        remote: attached.as_deref().map(remote),
    })
}

fn remote(target: &Attached) -> Remote {
    let Kept { spec, cleaned, .. } = target.kept();
    let jumps = spec.jumps.into_iter();
    Remote {
        host_key_fingerprint: spec.host_key.fingerprint(),
        host_key_algorithm: spec.host_key.algorithm,
        host: Host { address: spec.host, port: spec.port, user: spec.user },
        jumps: jumps
            .map(|jump| Jump {
                address: jump.host,
                port: jump.port,
                user: jump.user,
                host_key_fingerprint: jump.host_key.fingerprint(),
                host_key_algorithm: jump.host_key.algorithm,
            })
            .collect(),
        credentials: target.credentials(),
        cleaned: cleaned.map(|last| CleanedMachine {
            time_utc: last.time_utc,
            report: CleanReport { cleaned: last.cleaned },
        }),
        allow_unsupported: spec.allow_unsupported,
        attached_time_utc: spec.attached_time_utc,
    }
}
