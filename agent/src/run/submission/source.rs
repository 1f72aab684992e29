//! In which object store the source of a new run is.

use snapshots::digest::Digest;

use super::Refused;
use crate::agent::Agent;
use crate::objects::StoreOf;
use crate::peer::Peer;
use crate::task;

/// Finds the store that has the run's source and, if it has one, the context its image is built
/// from: what `peer` sent, or what a run was made of that they may see, so that it can be run again.
///
/// # Errors
///
/// [`Refused::NoSnapshot`]: there is none. Whether others have it makes no difference.
pub(super) async fn store_for(
    agent: &Agent,
    peer: Peer,
    source: Digest,
    context: Option<Digest>,
) -> Result<StoreOf, Refused> {
    let snapshots: Vec<_> = std::iter::once(source).chain(context).collect();
    let own = agent.objects.of(peer.uid);
    let Some(lacks) = first_missing(agent, own, &snapshots).await? else { return Ok(own) };
    for store in agent.store.stores_of(source, context, peer.scope()).await? {
        if first_missing(agent, store, &snapshots).await?.is_none() {
            return Ok(store);
        }
    }
    Err(Refused::NoSnapshot { snapshot: lacks })
}

/// Returns the first that a store has not. In a user's store a snapshot counts when it is whole: a
/// directory's listing alone, sent without the files, could otherwise name those of others, which
/// an image that was built before or an attached machine has.
async fn first_missing(
    agent: &Agent,
    store: StoreOf,
    snapshots: &[Digest],
) -> Result<Option<Digest>, Refused> {
    let objects = agent.objects.get(store).await?;
    let snapshots = snapshots.to_vec();
    task::blocking(move || {
        for snapshot in snapshots {
            let is_there = match store {
                StoreOf::Agent => objects.contains(&snapshot)?,
                StoreOf::User(_) => objects.record(&snapshot)?.is_some(),
            };
            if !is_there {
                return Ok(Some(snapshot));
            }
        }
        Ok(None)
    })
    .await
}
