//! Freeing what nothing refers to.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use images::cache::EnvironmentError;
use jiff::{SignedDuration, Timestamp};
use runner::run_id::RunId;
use snapshots::digest::Digest;
use snapshots::gc::{self, Collected};
use tracing::{error, info};

use super::super::body::Document;
use super::super::error::ApiError;
use super::super::wire::agent::{GcReport, GcRequest, RemovedEnvironment};
use super::super::wire::problem::Problem;
use crate::agent::Agent;
use crate::containers;
use crate::objects::StoreOf;
use crate::peer::Peer;
use crate::registered::Register;
use crate::run::removal::RemovalError;
use crate::store::StoreError;
use crate::task;

/// What is younger stays, unless the caller says otherwise: it may be on its way into a run.
const DEFAULT_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// What builds keep for later ones stays if one used it within this time.
const DEFAULT_TOOL_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Frees what nothing refers to: objects, containers, left-overs of environments, environments over
/// the limit that were not used for longest and, if asked, old runs. For a user who does not rule
/// the agent: objects and runs of their own.
#[utoipa::path(post, path = "/v1/gc", operation_id = "collectGarbage", tag = "agent",
    request_body = GcRequest,
    responses(
        (status = 200, description = "What was freed, or would be.", body = GcReport),
        (status = 403, description = "Environments are not this user's to remove.", body = Problem),
        (status = 415, description = "The body is not said to be JSON.", body = Problem),
    ))]
pub(in super::super) async fn gc(
    State(agent): State<Arc<Agent>>,
    peer: Peer,
    Document(request): Document<GcRequest>,
) -> Result<Json<GcReport>, ApiError> {
    if request.environment_max_bytes.is_some() {
        peer.must_rule("remove environments of")?;
    }
    Ok(Json(collect(&agent, peer, &request).await?))
}

/// Frees what nothing refers to, for the agent itself. No run goes.
pub(crate) async fn collect_garbage(agent: &Agent) -> Result<GcReport, ApiError> {
    let own = Peer { uid: rustix::process::geteuid().as_raw(), rules: true };
    collect(agent, own, &GcRequest::default()).await
}

async fn collect(agent: &Agent, peer: Peer, request: &GcRequest) -> Result<GcReport, ApiError> {
    let mut report = GcReport::default();
    let old = match request.older_than_seconds {
        Some(seconds) => {
            let age = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            let before = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN);
            agent.store.ended_before(before, peer.scope()).await?
        }
        None => Vec::new(),
    };
    report.run_bytes_freed = old.iter().map(|(_, bytes)| bytes).sum();
    let old: Vec<RunId> = old.into_iter().map(|(run, _)| run).collect();
    report.runs_removed = old.len() as u64;
    if !request.dry_run {
        for run in &old {
            match agent.forget(run).await {
                // Somebody else removed it meanwhile.
                Ok(()) | Err(RemovalError::Records(StoreError::NoSuchRun { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    if peer.rules {
        if !request.dry_run {
            let environments = agent.environments.clone();
            report.environment_leftovers = task::blocking(move || environments.sweep()).await?;
        }
        report.containers_removed = containers::sweep(agent, request.dry_run).await?;
        environments(agent, request, &mut report).await?;
        tools(agent, request, &mut report).await?;
    }
    for store in stores(agent, peer).await? {
        let collected = objects(agent, request, store, old.clone()).await?;
        report.objects_removed += collected.objects;
        report.bytes_freed += collected.bytes;
        report.packs_removed += collected.packs_removed;
        report.packs_rewritten += collected.packs_rewritten;
        report.snapshots_removed += collected.records_removed;
        for digest in &collected.damaged {
            error!(%digest, "The object store has lost a directory of a snapshot that is in use.");
        }
    }
    info!(uid = peer.uid, ?report, dry_run = request.dry_run, "Freed what nothing refers to.");
    Ok(report)
}

/// Removes the environments that were not used for longest, where there is a limit.
async fn environments(
    agent: &Agent,
    request: &GcRequest,
    report: &mut GcReport,
) -> Result<(), ApiError> {
    let Some(most) = request.environment_max_bytes.or(agent.most_environment_bytes) else {
        return Ok(());
    };
    let (cache, dry_run) = (agent.environments.clone(), request.dry_run);
    let (plan, removed) = task::blocking(move || {
        let plan = cache.plan_cleanup(most)?;
        let removed = if dry_run { plan.remove.clone() } else { cache.clean_up(&plan)? };
        Ok::<_, EnvironmentError>((plan, removed))
    })
    .await?;
    report.environment_bytes_freed = removed.iter().map(|entry| entry.bytes).sum();
    report.environment_bytes_left = plan.bytes.saturating_sub(report.environment_bytes_freed);
    report.environments_removed = removed.iter().map(RemovedEnvironment::from).collect();
    Ok(())
}

/// Removes what builds kept and none used any more.
async fn tools(agent: &Agent, request: &GcRequest, report: &mut GcReport) -> Result<(), ApiError> {
    let age = request.grace_seconds.map_or(DEFAULT_TOOL_AGE, Duration::from_secs);
    let (cache, dry_run) = (agent.environments.clone(), request.dry_run);
    let cleanup = task::blocking(move || cache.clean_up_tools(age, dry_run)).await?;
    report.tool_bytes_freed = cleanup.removed.iter().map(|tool| tool.bytes).sum();
    report.tool_bytes_left = cleanup.bytes_left;
    report.tools_removed = cleanup.removed.into_iter().map(Into::into).collect();
    Ok(())
}

/// Returns the object stores that `peer` may free.
async fn stores(agent: &Agent, peer: Peer) -> Result<Vec<StoreOf>, ApiError> {
    if !peer.rules {
        return Ok(vec![agent.objects.of(peer.uid)]);
    }
    let objects = Arc::clone(&agent.objects);
    let all = task::blocking(move || objects.all()).await;
    all.map_err(ApiError::internal("look for object stores"))
}

async fn objects(
    agent: &Agent,
    request: &GcRequest,
    store: StoreOf,
    gone: Vec<RunId>,
) -> Result<Collected, ApiError> {
    // Whoever hands in a run meanwhile waits, so that its snapshot counts as in use.
    let _alone = agent.collecting.write().await;
    let in_use = agent.store.snapshots_in_use(store, gone).await?;
    let mut roots: Vec<Digest> = in_use.iter().filter_map(|id| id.parse().ok()).collect();
    if store == StoreOf::Agent {
        let register = Register::new(&agent.workspace);
        let named = task::blocking(move || register.contexts()).await;
        roots.extend(named.map_err(ApiError::internal("look for environments with names"))?);
    }
    let grace = request.grace_seconds.map_or(DEFAULT_GRACE, Duration::from_secs);
    let objects = agent.objects.get(store).await;
    let objects = objects.map_err(ApiError::internal("open the object store"))?;
    let dry_run = request.dry_run;
    let collected = task::blocking(move || gc::collect(&objects, &roots, grace, dry_run)).await;
    collected.map_err(ApiError::internal("free objects"))
}
